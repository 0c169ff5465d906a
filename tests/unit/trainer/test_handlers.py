"""Commands over a real bus: acknowledged when they hold, refused with a reason."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
import torch
from weightslab_common.errors import (
    Aborted,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    WeightsLabError,
)
from weightslab_proto.weightslab.v1 import (
    DescribeModelRequest,
    DescribeModelResponse,
    ListCheckpointsRequest,
    ListCheckpointsResponse,
    LoadCheckpointRequest,
    LoadCheckpointResponse,
    Mode,
    PauseRequest,
    PauseResponse,
    ResumeRequest,
    ResumeResponse,
    RunState,
    SaveCheckpointRequest,
    SaveCheckpointResponse,
    SetHyperparameterRequest,
    SetHyperparameterResponse,
    SetModeRequest,
    SetModeResponse,
)

from tests.unit.trainer.peers import Peer, eventually
from tests.unit.trainer.served import Script

MakeScript = Callable[..., Script]


async def _pause(peer: Peer) -> PauseResponse:
    return await peer.ask("pause", PauseRequest(), PauseResponse)


async def _resume(peer: Peer, step_count: int = 0) -> ResumeResponse:
    return await peer.ask("resume", ResumeRequest(step_count=step_count), ResumeResponse)


async def _set(peer: Peer, name: str, value: object) -> SetHyperparameterResponse:
    request = SetHyperparameterRequest(name=name, value_json=json.dumps(value))
    return await peer.ask("set_hyperparameter", request, SetHyperparameterResponse)


async def _mode(peer: Peer, mode: Mode) -> SetModeResponse:
    return await peer.ask("set_mode", SetModeRequest(mode=mode), SetModeResponse)


async def _save(peer: Peer) -> SaveCheckpointResponse:
    return await peer.ask("save_checkpoint", SaveCheckpointRequest(), SaveCheckpointResponse)


async def _load(peer: Peer, branch: str, step: int) -> LoadCheckpointResponse:
    return await peer.ask("load_checkpoint", LoadCheckpointRequest(branch=branch, step=step), LoadCheckpointResponse)


async def test_an_acknowledged_pause_means_that_no_parameter_changes(script: MakeScript, peer: Peer) -> None:
    running = script().start()
    await peer.begun()
    paused = await _pause(peer)
    before = running.weights()
    status = await peer.status_when(lambda s: s.state == RunState.PAUSED, what="the pause is told")
    assert status.step == paused.step
    later = await peer.status_when(lambda s: s.sequence > status.sequence + 1, what="time passes")
    assert later.step == paused.step
    assert all(torch.equal(a, b) for a, b in zip(before, running.weights(), strict=True))
    await _resume(peer)
    await peer.status_when(lambda s: s.step > paused.step, what="the run goes on")


async def test_a_pause_that_cannot_hold_in_time_is_told_so_and_holds_later(
    script: MakeScript, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WL_COMMAND_TIMEOUT_SECS", "0.4")
    running = script().start()
    await peer.begun()
    running.hold()
    with pytest.raises(DeadlineExceeded, match=r"did not come to its next batch within 0\.4 s; the pause stays asked"):
        await _pause(peer)
    await peer.status_when(lambda s: s.state == RunState.PENDING, what="the pause is pending")
    running.release()
    await peer.status_when(lambda s: s.state == RunState.PAUSED, what="the pause holds")


async def test_a_job_that_cannot_be_done_in_time_is_not_done_later(
    script: MakeScript, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WL_COMMAND_TIMEOUT_SECS", "0.4")
    running = script().start()
    await peer.begun()
    running.hold()
    with pytest.raises(DeadlineExceeded, match="nothing was changed"):
        await _mode(peer, Mode.AUDIT)
    running.release()
    status = await peer.status_when(lambda s: s.step > 5, what="the run goes on")
    assert status.mode == Mode.TRAIN


@pytest.mark.parametrize("last", ["pause", "resume"])
async def test_twenty_quick_toggles_end_in_the_last_one(script: MakeScript, peer: Peer, last: str) -> None:
    script().start()
    await peer.begun()

    async def toggle(number: int) -> None:
        try:
            await (_pause(peer) if (number % 2 == 1) == (last == "pause") else _resume(peer))
        except Aborted:
            assert number < 19, "the last one is never replaced"

    await asyncio.gather(*(toggle(number) for number in range(20)))
    state = RunState.PAUSED if last == "pause" else RunState.RUNNING
    status = await peer.status_when(lambda s: s.state == state, what=f"the run is {state.name}")
    await peer.status_when(
        lambda s: s.sequence > status.sequence + 1 and s.state == state, what=f"the run stays {state.name}"
    )


async def test_resume_for_some_steps_takes_exactly_those(script: MakeScript, peer: Peer) -> None:
    script().start()
    await peer.begun()
    start = (await _pause(peer)).step
    await _resume(peer, step_count=7)
    status = await peer.status_when(lambda s: s.state == RunState.PAUSED and s.step > start, what="it pauses by itself")
    assert status.step == start + 7
    with pytest.raises(InvalidArgument, match="step_count -1"):
        await _resume(peer, step_count=-1)


async def test_a_learning_rate_holds_from_the_next_step_and_is_shown(script: MakeScript, peer: Peer) -> None:
    running = script().start()
    await peer.begun()
    reply = await _set(peer, "optimizer.lr", 0.25)
    assert (reply.hyperparameter.requested_json, reply.hyperparameter.applied_json) == ("0.25", "0.25")
    assert running.optimizer.param_groups[0]["lr"] == 0.25
    assert running.parameters["optimizer"]["lr"] == 0.25
    with pytest.raises(InvalidArgument, match=r'is of type float and stays 0\.25: "fast"'):
        await _set(peer, "optimizer.lr", "fast")
    with pytest.raises(NotFound, match="no hyperparameter 'rate'"):
        await _set(peer, "rate", 1)
    assert running.optimizer.param_groups[0]["lr"] == 0.25


async def test_a_value_that_waits_for_the_gate_is_shown_as_requested(script: MakeScript, peer: Peer) -> None:
    running = script().start()
    await peer.begun()
    running.hold()
    reply = await _set(peer, "batch_size", 4)
    assert (reply.hyperparameter.requested_json, reply.hyperparameter.applied_json) == ("4", "8")
    running.release()
    await peer.status_when(lambda s: s.loaders[0].batch_size == 4, what="the batch size is taken over")


async def test_an_audit_leaves_the_weights_and_shows_equal_hashes(script: MakeScript, peer: Peer) -> None:
    running = script().start()
    await peer.begun()
    entered = await _mode(peer, Mode.AUDIT)
    step = (await peer.status_when(lambda s: s.mode == Mode.AUDIT, what="the audit is told")).step
    before = running.weights()
    await peer.status_when(lambda s: s.mode == Mode.AUDIT and s.epoch >= 2, what="epochs pass")
    await _pause(peer)
    left = await _mode(peer, Mode.TRAIN)
    assert entered.audit is not None
    assert left.audit is not None
    assert left.audit.hash_after == left.audit.hash_before == entered.audit.hash_before
    assert all(torch.equal(a, b) for a, b in zip(before, running.weights(), strict=True))
    status = await peer.status_when(lambda s: s.mode == Mode.TRAIN, what="the end of the audit is told")
    assert (status.step, status.audit.hash_after) == (step, left.audit.hash_after)
    with pytest.raises(InvalidArgument, match="TRAIN or AUDIT"):
        await _mode(peer, Mode.UNSPECIFIED)


async def test_load_at_57_of_every_10_says_50_and_resume_makes_a_branch_of_it(script: MakeScript, peer: Peer) -> None:
    running = script(checkpoint_every=10, step_secs=0.004)
    running.start()
    await peer.status_when(lambda s: s.last_checkpoint_step >= 60, what="step 60 is saved")
    saved = await peer.ask("list_checkpoints", ListCheckpointsRequest(), ListCheckpointsResponse)
    assert [checkpoint.step for checkpoint in saved.checkpoints][:5] == [10, 20, 30, 40, 50]
    loaded = await _load(peer, "main", 57)
    assert (loaded.checkpoint.branch, loaded.checkpoint.step) == ("main", 50)
    status = await peer.status_when(
        lambda s: s.loaded_step == 50 and s.state == RunState.PAUSED, what="the load is told"
    )
    assert (status.state, status.branch, status.step) == (RunState.PAUSED, "main", 50)
    assert [branch.branch for branch in status.branches] == ["main"]
    resumed = await _resume(peer)
    assert (resumed.step, resumed.branch) == (50, "b2")
    status = await peer.status_when(lambda s: s.branch == "b2" and s.step > 52, what="the branch goes on")
    assert [(b.branch, b.parent_branch, b.parent_step) for b in status.branches][1:] == [("b2", "main", 50)]
    paused = await _pause(peer)

    async def stored() -> list[tuple[str, int, int, float]] | None:
        found = await peer.points("train/loss")
        return found if ("b2", paused.step - 1) in {(branch, step) for branch, _, step, _ in found} else None

    points = await eventually(stored, what="the points of the branch are stored")
    assert max(step for branch, _, step, _ in points if branch == "main") >= 59
    assert min(step for branch, _, step, _ in points if branch == "b2") == 50


async def test_what_cannot_be_loaded_is_an_error_and_the_run_goes_on(script: MakeScript, peer: Peer) -> None:
    running = script().start()
    await peer.begun()
    saved = await _save(peer)
    with pytest.raises(NotFound, match="branch 'other' has no checkpoint at or before step 3; saved steps: none"):
        await _load(peer, "other", 3)
    (place,) = running.folder.glob("*/checkpoints/main/*/state.json")
    place.write_bytes(b"{}")
    with pytest.raises(FailedPrecondition, match=r"state\.json does not match its checksum"):
        await _load(peer, "main", saved.checkpoint.step)
    status = await peer.status_when(lambda s: s.step > saved.checkpoint.step, what="the run goes on")
    assert (status.state, status.loaded_branch) == (RunState.RUNNING, "")


async def test_a_model_is_described_with_shapes_and_counts(script: MakeScript, peer: Peer) -> None:
    script()
    await peer.attached()
    described = await peer.ask("describe_model", DescribeModelRequest(), DescribeModelResponse)
    assert described.model == "model"
    assert "Linear" in described.tree
    assert "weight[8×4] bias[8]  40 parameters" in described.tree
    assert "67 parameters in all" in described.tree
    with pytest.raises(NotFound, match="no model 'other'; there are: model"):
        await peer.ask("describe_model", DescribeModelRequest(model="other"), DescribeModelResponse)


async def test_every_error_has_its_own_class(script: MakeScript, peer: Peer) -> None:
    script().start()
    await peer.begun()
    with pytest.raises(WeightsLabError) as caught:
        await _set(peer, "batch_size", 0)
    assert type(caught.value) is InvalidArgument
