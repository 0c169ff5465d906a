"""Messages of others: whole ones are read, and a field of another kind is refused by its name."""

from __future__ import annotations

import betterproto
import pytest
from weightslab_common.errors import InvalidArgument
from weightslab_common.messages import parsed
from weightslab_proto.weightslab.bus.v1 import GetActiveSetRequest, LiveUpdate, SignalBatch, SignalColumn
from weightslab_proto.weightslab.v1 import (
    Counters,
    Edit,
    EditSamplesRequest,
    Mode,
    Query,
    RunState,
    RunStatus,
    SampleList,
    SampleRef,
    Target,
)


@pytest.mark.parametrize(
    "message",
    [
        SignalBatch(run_id="r", sequence=3, mode=Mode.AUDIT, columns=[SignalColumn(signal="a", steps=b"12345678")]),
        LiveUpdate(revision=4, counters=Counters(total=3, active=2)),
        GetActiveSetRequest(revision=0),
        RunStatus(state=RunState.PAUSED, steps_per_sec=2.5, finished=True),
        EditSamplesRequest(target=Target(samples=SampleList(samples=[SampleRef(split="train", uid="日")]))),
        EditSamplesRequest(target=Target(query=Query(filter="loss > 1")), expected_revision=0),
        RunStatus(),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_whole_message_is_read_as_it_was_written(message: betterproto.Message) -> None:
    assert parsed(type(message), bytes(message)) == message


@pytest.mark.parametrize(
    ("message_type", "payload", "field"),
    [
        (SignalBatch, b"\x08\x01", "run_id"),
        (SignalBatch, b"\x12\x03abc", "sequence"),
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


@pytest.mark.parametrize("payload", [b"\x15\x00\x00\x00\x00", b"\x0a\x01\xff", b"\xff" * 12], ids=repr)
def test_bytes_that_are_no_message_are_refused(payload: bytes) -> None:
    with pytest.raises(InvalidArgument, match="this is no SignalBatch"):
        parsed(SignalBatch, payload)
