"""Edits of a ledger, obeyed by the loop: from the step that the reply names, once, and after every kind of gap."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import weightslab as wl
from weightslab_proto.weightslab.bus.v1 import ApplyEditRequest, ApplyEditResponse
from weightslab_proto.weightslab.v1 import PauseRequest, PauseResponse, ResumeRequest, ResumeResponse

from tests.unit.trainer.peers import Peer
from tests.unit.trainer.served import TRAIN_COUNT, VAL_COUNT, Script

MakeScript = Callable[..., Script]
SIZES = {"train": TRAIN_COUNT, "val": VAL_COUNT}


@pytest.mark.parametrize("workers", [0, 2])
async def test_from_the_step_that_the_reply_names_no_batch_has_the_sample(
    script: MakeScript, peer: Peer, workers: int
) -> None:
    await peer.answer_as_ledger(SIZES)
    running = script(workers=workers).start()
    await peer.begun()
    reply = await peer.edit("train", discard=[3, 8, 21])
    assert (reply.revision, reply.branch) == (1, "main")
    epoch = running.train_loader.epoch
    await peer.status_when(lambda status: status.epoch >= epoch + 3, what="epochs pass")
    paused = await peer.ask("pause", PauseRequest(), PauseResponse)
    by_step = await peer.positions_by_step("train/loss", through=paused.step - 1)
    late = [step for step, positions in by_step.items() if positions & {3, 8, 21}]
    assert late, "the samples were drawn before"
    assert max(late) < reply.effective_step
    after = [positions for step, positions in by_step.items() if step >= reply.effective_step]
    assert set().union(*after) == set(range(TRAIN_COUNT)) - {3, 8, 21}


async def test_the_reply_says_what_holds_when_paused_and_while_a_batch_is_in_hand(
    script: MakeScript, peer: Peer
) -> None:
    await peer.answer_as_ledger(SIZES)
    running = script().start()
    await peer.begun()
    step = (await peer.ask("pause", PauseRequest(), PauseResponse)).step
    paused = await peer.edit("train", discard=[1])
    assert paused.effective_step in (step, step + 1)
    await peer.ask("resume", ResumeRequest(), ResumeResponse)
    running.hold()
    taken = len(running.steps)
    assert taken >= step
    assert (await peer.edit("train", discard=[2])).effective_step == taken + 1


async def test_the_same_edit_twice_changes_nothing_and_answers_the_same(script: MakeScript, peer: Peer) -> None:
    await peer.answer_as_ledger(SIZES)
    running = script().start()
    await peer.begun()
    first = await peer.edit("train", discard=[5])
    await peer.edit("train", discard=[6])
    event = peer.change("train", restore=[6])
    event.revision = 1
    again = await peer.ask("apply", ApplyEditRequest(event=event), ApplyEditResponse)
    assert (again.revision, again.effective_step) == (2, first.effective_step)
    assert running.discarded() == [5, 6]


async def test_the_same_uid_in_two_splits_is_two_samples(script: MakeScript, peer: Peer) -> None:
    await peer.answer_as_ledger(SIZES)
    running = script().start()
    await peer.begun()
    await peer.edit("val", discard=[4])
    assert running.discarded("val") == [4]
    assert running.discarded() == []


async def test_an_edit_that_was_not_heard_is_noticed_by_the_next_one(script: MakeScript, peer: Peer) -> None:
    await peer.answer_as_ledger(SIZES)
    running = script().start()
    await peer.begun()
    peer.change("train", discard=[7])
    reply = await peer.edit("train", discard=[9])
    assert reply.revision == 2
    assert running.discarded() == [7, 9]


async def test_an_edit_that_was_not_heard_is_noticed_by_the_ledgers_heartbeat(script: MakeScript, peer: Peer) -> None:
    await peer.answer_as_ledger(SIZES)
    running = script().start()
    await peer.begun()
    peer.change("train", discard=[7])
    await peer.tell_live()
    await peer.status_when(lambda status: status.applied_revision == 1, what="the edit is obeyed")
    assert running.discarded() == [7]


async def test_a_ledger_that_comes_later_is_asked_until_it_answers(script: MakeScript, peer: Peer) -> None:
    running = script().start()
    await peer.begun()
    peer.sizes = SIZES
    peer.change("train", discard=[11])
    await peer.answer_as_ledger(SIZES)
    await peer.status_when(lambda status: status.applied_revision == 1, what="the discards are known")
    assert running.discarded() == [11]


async def test_a_restarted_script_obeys_what_it_knew_before_any_ledger_answers(script: MakeScript, peer: Peer) -> None:
    await peer.answer_as_ledger(SIZES)
    first = script().start()
    await peer.begun()
    await peer.edit("train", discard=[5, 6])
    first.end()
    peer.sizes = {}
    second = script()
    assert second.discarded() == [5, 6]
    assert second.discarded("val") == []


async def test_with_all_discarded_the_run_says_so_lives_and_goes_on(script: MakeScript, peer: Peer) -> None:
    await peer.answer_as_ledger(SIZES)
    script().start()
    await peer.begun()
    await peer.edit("train", discard=list(range(TRAIN_COUNT)))
    waiting = await peer.status_when(lambda s: s.message.startswith("no active samples"), what="the wait is told")
    await peer.edit("train", restore=[0, 1])
    await peer.status_when(lambda s: s.step > waiting.step and not s.message, what="the run goes on")
    paused = await peer.ask("pause", PauseRequest(), PauseResponse)
    by_step = await peer.positions_by_step("train/loss", through=paused.step - 1)
    # A slow loop has taken one step since then: the one whose number the waiting run told.
    assert set().union(*(seen for step, seen in by_step.items() if step >= waiting.step)) == {0, 1}
    wl.stop()
