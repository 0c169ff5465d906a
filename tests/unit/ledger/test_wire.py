"""The quick reader reads what the generated code writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weightslab_common.errors import InvalidArgument
from weightslab_ledger.wire import edit_request, read_registration, selection_request, split_field
from weightslab_proto.weightslab.v1 import EditOperation, EditSamplesRequest, SummarizeSelectionRequest

from tests.unit.ledger.trainers import Metadata, matching, registration, samples

TEXTS = st.lists(st.text(max_size=200), max_size=10)


@given(TEXTS, st.text(max_size=10), st.integers(0, 2**40))
def test_a_registration_is_read_like_the_generated_code_reads_it(uids: list[str], camera: str, sequence: int) -> None:
    metadata: Metadata = {"camera": [camera + "x" for _ in uids], "target": [0.5] * len(uids)}
    message = registration("train", uids, metadata=metadata, class_names=["a", "b"], sequence=sequence, run_id="r")
    part, columns = read_registration(bytes(message))
    assert part.uids == uids
    assert (part.class_names, part.sequence, part.run_id, part.complete) == (["a", "b"], sequence, "r", True)
    if uids:
        assert columns["camera"] == metadata["camera"]
        assert list(columns["target"]) == metadata["target"]


@given(st.lists(st.text(max_size=20), max_size=10))
def test_the_samples_of_an_edit_are_read(uids: list[str]) -> None:
    message = EditSamplesRequest(
        experiment="e", edit_id="id", operation=EditOperation.DISCARD, target=samples("train", *uids), author="me"
    )
    read = edit_request(bytes(message))
    assert read.samples == [("train", uid) for uid in uids]
    assert (read.message.edit_id, read.message.author, read.message.expected_revision) == ("id", "me", None)


def test_a_query_stays_a_query() -> None:
    read = selection_request(bytes(SummarizeSelectionRequest(target=matching("loss > 1"))))
    assert read.samples is None
    assert read.message.target.query.filter == "loss > 1"


@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_our_error(content: bytes) -> None:
    try:
        found, rest = split_field(content, 5)
    except InvalidArgument:
        return
    assert len(rest) + sum(map(len, found)) <= len(content)


def test_a_message_cut_short_is_refused() -> None:
    content = bytes(registration("train", ["abcdef"]))
    with pytest.raises(InvalidArgument, match="cut short"):
        read_registration(content[: content.index(b"abcdef") + 3])


def test_a_number_without_an_end_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="a number in a message has no end"):
        split_field(b"\xff" * 12, 5)
