"""Images that are wanted at the same time travel in one request to the media worker."""

from __future__ import annotations

import asyncio

from weightslab_common.errors import NotFound
from weightslab_common.media import Layer, Reply, replies_of, response_of
from weightslab_proto.weightslab.bus.v1 import GetMediaPageRequest, GetMediaPageResponse

from tests.support.studio import TOKEN
from tests.unit.gateway.conftest import Gateway
from tests.unit.gateway.peers import LedgerPeer, TrainerPeer

BEARER = {"authorization": f"Bearer {TOKEN}"}


class Slow(TrainerPeer):
    """Answers when it is told to, and `room` images a time."""

    room = 100

    def prepare(self) -> None:
        self.may_answer = asyncio.Event()
        self.refused = ""

    async def media_page(self, request: GetMediaPageRequest) -> GetMediaPageResponse:
        page = await super().media_page(request)
        await self.may_answer.wait()
        replies = replies_of(page, count=len(request.uids))
        return response_of([reply if number < self.room else None for number, reply in enumerate(replies)])

    def media(self, wanted: Layer, uid: str) -> Reply:
        return NotFound("there is none") if uid == self.refused else super().media(wanted, uid)


async def _slow(gateway: Gateway, ledger: LedgerPeer) -> Slow:
    trainer = Slow(ledger._bus, ledger.experiment)
    trainer.prepare()
    await trainer.start()
    return trainer


async def _page(gateway: Gateway, trainer: Slow, count: int) -> list[tuple[int, str]]:
    """Status and content of as many images, asked for while the worker is busy with others."""
    async with gateway.http(**BEARER) as http:
        paths = [f"/media/{trainer.experiment}/train/{number}" for number in range(count)]
        asking = [asyncio.create_task(http.get(path, timeout=60)) for path in paths]
        async with asyncio.timeout(60):
            while await gateway.metric("wl_gateway_connections ") < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            trainer.may_answer.set()
            return [(reply.status_code, reply.text.split("|")[1]) for reply in await asyncio.gather(*asking)]


async def test_what_is_wanted_while_a_worker_is_busy_travels_together(gateway: Gateway, ledger: LedgerPeer) -> None:
    trainer = await _slow(gateway, ledger)
    assert await _page(gateway, trainer, 20) == [(200, str(number)) for number in range(20)]
    assert sum(trainer.media_pages) == 20
    assert len(trainer.media_pages) <= 10, "a request for each"


async def test_what_was_left_out_of_a_reply_is_asked_for_again(gateway: Gateway, ledger: LedgerPeer) -> None:
    trainer = await _slow(gateway, ledger)
    trainer.room = 3
    assert await _page(gateway, trainer, 20) == [(200, str(number)) for number in range(20)]
    assert sum(trainer.media_pages) > 20, "nothing was asked for again"


async def test_an_image_that_cannot_be_given_costs_the_others_nothing(gateway: Gateway, ledger: LedgerPeer) -> None:
    trainer = await _slow(gateway, ledger)
    trainer.refused = "7"
    async with gateway.http(**BEARER) as http:
        trainer.may_answer.set()
        replies = await asyncio.gather(
            *(http.get(f"/media/{trainer.experiment}/train/{number}", timeout=60) for number in range(10))
        )
    assert [reply.status_code for reply in replies] == [404 if number == 7 else 200 for number in range(10)]


async def test_a_caller_that_leaves_takes_nobody_along(gateway: Gateway, ledger: LedgerPeer) -> None:
    trainer = await _slow(gateway, ledger)
    path = f"/media/{trainer.experiment}/train/"
    async with gateway.http(**BEARER) as leaves, gateway.http(**BEARER) as stays:
        left = asyncio.create_task(leaves.get(path + "1", timeout=60))
        stayed = asyncio.create_task(stays.get(path + "2", timeout=60))
        async with asyncio.timeout(60):
            while sum(trainer.media_pages) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        trainer.may_answer.set()
        assert (await stayed).status_code == 200
