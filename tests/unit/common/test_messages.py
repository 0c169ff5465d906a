"""Messages as bytes: written as betterproto writes them, read as it reads them, and held against the contract."""

from __future__ import annotations

from typing import Any

import betterproto
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weightslab_common.errors import InvalidArgument
from weightslab_common.messages import encoded, made, parsed
from weightslab_proto.grpc.health import v1 as health
from weightslab_proto.grpc.reflection import v1 as reflection
from weightslab_proto.weightslab import v1 as public
from weightslab_proto.weightslab.bus import v1 as bus
from weightslab_proto.weightslab.bus.v1 import LiveUpdate, SignalBatch
from weightslab_proto.weightslab.v1 import (
    Counters,
    Edit,
    EditSamplesRequest,
    Experiment,
    GetSampleResponse,
    ListExperimentsResponse,
    Mode,
    OperateModelRequest,
    Query,
    RunState,
    RunStatus,
    SampleList,
    SampleRef,
    Target,
)

MESSAGES = sorted(
    {
        value
        for module in (public, bus, health, reflection)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, betterproto.Message)
    },
    key=lambda found: (found.__module__, found.__name__),
)
WHOLE_NUMBERS = {
    "bool": st.booleans(),
    "int32": st.integers(-(1 << 31), (1 << 31) - 1),
    "int64": st.integers(-(1 << 63), (1 << 63) - 1),
    "uint32": st.integers(0, (1 << 32) - 1),
    "uint64": st.integers(0, (1 << 64) - 1),
    "double": st.floats(allow_nan=False),
    "string": st.text(max_size=200),
    "bytes": st.binary(max_size=200),
}


def messages(message_type: Any, depth: int = 3) -> st.SearchStrategy[betterproto.Message]:
    """Any message of a type, with at most one field of each `oneof`."""
    contract: Any = message_type._betterproto
    fields = {
        name: _values(contract, name, depth)
        for name in contract.meta_by_field_name
        if contract.meta_by_field_name[name].proto_type != "message" or depth
    }

    def build(chosen: dict[str, Any]) -> betterproto.Message:
        for members in contract.oneof_field_by_group.values():
            given_members = [field.name for field in members if field.name in chosen]
            for name in given_members[1:]:
                del chosen[name]
        message: betterproto.Message = message_type(**chosen)
        return message

    return st.fixed_dictionaries({}, optional=fields).map(build)


def _values(contract: Any, name: str, depth: int) -> st.SearchStrategy[Any]:
    kind, field_type = contract.meta_by_field_name[name].proto_type, contract.cls_by_field[name]
    if kind == "message":
        value: st.SearchStrategy[Any] = messages(field_type, depth - 1)
    elif kind == "enum":
        value = st.sampled_from(list(field_type)) | st.just(field_type.try_value(1 << 20))
    else:
        value = WHOLE_NUMBERS[kind]
    return st.lists(value, max_size=4) if contract.default_gen[name] is list else value


def _given(message: Any) -> dict[str, Any]:
    """The fields that the message was made with."""
    values = {name: vars(message)[name] for name in message._betterproto.meta_by_field_name}
    return {name: value for name, value in values.items() if value not in (None, betterproto.PLACEHOLDER)}


@pytest.mark.parametrize("message_type", MESSAGES, ids=lambda found: f"{found.__module__}.{found.__name__}")
@settings(max_examples=25)
@given(data=st.data())
def test_every_message_is_written_and_read_as_by_betterproto(
    message_type: type[betterproto.Message], data: st.DataObject
) -> None:
    message = data.draw(messages(message_type))
    content = bytes(message)
    again = made(message_type, **_given(message))
    assert again == message
    assert encoded(again) == content
    assert encoded(message) == content
    read = parsed(message_type, content)
    assert read == message_type().parse(content) == message
    assert bytes(read) == content == encoded(read)
    assert vars(read).keys() == vars(message_type()).keys()


@given(message=messages(public.QuerySamplesResponse), data=st.data())
def test_whatever_is_cut_or_spoiled_is_read_or_refused(message: betterproto.Message, data: st.DataObject) -> None:
    content = bytearray(bytes(message) or b"\x08\x01")
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(1, len(content)))]
    try:
        read = parsed(type(message), bytes(content))
    except InvalidArgument:
        return
    assert parsed(type(message), encoded(read)) == read


def test_a_message_that_was_read_can_be_changed_like_any_other() -> None:
    target = parsed(Target, bytes(Target(query=Query(filter="loss > 1"))))
    target.samples = SampleList(samples=[SampleRef(split="train", uid="7")])
    assert betterproto.which_one_of(target, "kind")[0] == "samples"
    assert encoded(target) == bytes(Target(samples=SampleList(samples=[SampleRef(split="train", uid="7")])))

    reply = parsed(ListExperimentsResponse, b"")
    reply.experiments.append(Experiment(experiment="digits"))
    assert parsed(ListExperimentsResponse, b"").experiments == []
    assert parsed(ListExperimentsResponse, encoded(reply)).experiments == [Experiment(experiment="digits")]


def test_fields_of_a_later_contract_are_kept() -> None:
    content = bytes(Counters(total=3)) + b"\xfa\x3f\x03abc" + b"\xf0\x3f\x05"
    read = parsed(Counters, content)
    assert read.total == 3
    assert encoded(read) == content


def test_lists_of_numbers_are_read_packed_and_one_by_one() -> None:
    assert parsed(OperateModelRequest, b"\x30\x05\x30\x81\x01\x32\x02\x01\x02").neurons == [5, 129, 1, 2]


def test_a_negative_number_is_one_of_its_width() -> None:
    assert parsed(OperateModelRequest, b"\x30" + b"\xff" * 9 + b"\x01").neurons == [-1]
    assert encoded(OperateModelRequest(neurons=[-1])) == bytes(OperateModelRequest(neurons=[-1]))


@pytest.mark.parametrize(
    "message",
    [
        RunStatus(),
        RunStatus(state=RunState.PAUSED, steps_per_sec=float("-inf"), finished=True),
        LiveUpdate(counters=Counters()),
        SignalBatch(mode=Mode.AUDIT),
        EditSamplesRequest(expected_revision=0),
        EditSamplesRequest(target=Target(samples=SampleList())),
        GetSampleResponse(),
    ],
    ids=repr,
)
def test_what_is_given_though_it_is_empty_is_kept(message: betterproto.Message) -> None:
    assert encoded(message) == bytes(message)
    assert encoded(parsed(type(message), bytes(message))) == bytes(message)


@pytest.mark.parametrize(
    ("message_type", "payload", "field"),
    [
        (SignalBatch, b"\x08\x01", "run_id"),
        (SignalBatch, b"\x12\x03abc", "sequence"),
        (SignalBatch, b"\x15\x00\x00\x00\x00", "sequence"),
        (SignalBatch, b"\x2a\x02\x10\x05", "steps"),
        (SignalBatch, b"\x28\x05", "columns"),
        (Edit, b"\x4a\x02\x01\x02", "effective_step"),
        (RunStatus, b"\x22\x02\x01\x02", "state"),
        (RunStatus, b"\x50\x01", "steps_per_sec"),
        (LiveUpdate, b"\x20\x01", "counters"),
        # The start of a group, which proto3 does not have.
        (SignalBatch, b"\x0b", "run_id"),
    ],
)
def test_a_field_of_another_kind_is_refused(message_type: type[SignalBatch], payload: bytes, field: str) -> None:
    with pytest.raises(InvalidArgument, match=f"field {field} "):
        parsed(message_type, payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"\x0a\x01\xff",
        b"\xff" * 12,
        # Cut short: within a text, a number, a message within, and a field that nobody knows.
        b"\x0a\x05ab",
        b"\x10\x80",
        b"\x2a\x04\x0a\x03a",
        b"\xfa\x3f\x03a",
        # The text within would end beyond the message around it.
        b"\x2a\x03\x0a\x04a" + b"bcdef",
        b"\xf3\x3f",
    ],
    ids=repr,
)
def test_bytes_that_are_no_message_are_refused(payload: bytes) -> None:
    with pytest.raises(InvalidArgument, match="this is no SignalBatch"):
        parsed(SignalBatch, payload)
