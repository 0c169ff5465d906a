"""A request that is sent on arrives as its caller wrote it."""

from __future__ import annotations

import betterproto
import pytest
from grpclib.const import Handler
from hypothesis import given
from hypothesis import strategies as st
from weightslab_gateway.addressed import Addressed, AddressedEdit
from weightslab_gateway.protocol.call import parse_message
from weightslab_gateway.sample_service import SampleService
from weightslab_gateway.services import Served
from weightslab_gateway.signal_service import SignalService
from weightslab_proto.weightslab.v1 import (
    EditOperation,
    EditSamplesRequest,
    GetTrajectoriesRequest,
    Query,
    SampleList,
    SampleRef,
    SampleServiceBase,
    SignalServiceBase,
    SummarizeSelectionRequest,
    Target,
)

SAMPLES = st.lists(st.builds(SampleRef, split=st.text(max_size=5), uid=st.text(max_size=9)), max_size=5)
TARGETS = st.builds(Target, samples=st.builds(SampleList, samples=SAMPLES)) | st.builds(
    Target, query=st.builds(Query, filter=st.text(max_size=9))
)
EDITS = st.builds(
    EditSamplesRequest,
    experiment=st.text(max_size=9),
    edit_id=st.text(max_size=9),
    operation=st.sampled_from(list(EditOperation)),
    tag=st.text(max_size=9),
    target=TARGETS,
    expected_revision=st.none() | st.integers(0, 2**64 - 1),
    author=st.text(max_size=3),
    new_tag=st.text(max_size=3),
)


def _handler(served: type[Served], method: str) -> Handler:
    mapping = served(peers=None).mapping()  # type: ignore[call-arg]
    return next(handler for path, handler in mapping.items() if path.endswith("/" + method))


@given(EDITS, st.text(max_size=5))
def test_an_edit_arrives_with_its_author_and_all_that_was_said(edit: EditSamplesRequest, author: str) -> None:
    read = parse_message(_handler(SampleService, "EditSamples"), bytes(edit))
    assert isinstance(read, AddressedEdit)
    assert (read.experiment, read.author) == (edit.experiment, edit.author)
    read.author = edit.author = author
    assert EditSamplesRequest().parse(bytes(read)) == edit


@pytest.mark.parametrize(
    ("service", "request_"),
    [
        (SampleService, SummarizeSelectionRequest(experiment="e", target=Target(query=Query(filter="loss > 1")))),
        (SignalService, GetTrajectoriesRequest(experiment="e", signal="s", samples=[SampleRef("train", "1")])),
    ],
)
def test_what_is_only_addressed_arrives_as_it_was(service: type[Served], request_: betterproto.Message) -> None:
    method = type(request_).__name__.removesuffix("Request")
    read = parse_message(_handler(service, method), bytes(request_))
    assert isinstance(read, Addressed)
    assert read.experiment == "e"
    assert type(request_)().parse(bytes(read)) == request_


@pytest.mark.parametrize(("service", "base"), [(SampleService, SampleServiceBase), (SignalService, SignalServiceBase)])
def test_what_is_read_has_the_numbers_of_the_contract(service: type[Served], base: type) -> None:
    whole = {path.rpartition("/")[2]: handler for path, handler in base().__mapping__().items()}
    assert service.read_as.keys() <= whole.keys()
    for method, read in service.read_as.items():
        contract = whole[method].request_type._betterproto.meta_by_field_name
        for name, field in read._betterproto.meta_by_field_name.items():  # type: ignore[arg-type]
            assert (field.number, field.proto_type) == (contract[name].number, contract[name].proto_type)
