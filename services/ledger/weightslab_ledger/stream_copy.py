"""Copies a JetStream stream to a file and back, by the server's own snapshots.

https://docs.nats.io/reference/reference-protocols/nats_api_reference describes the requests: the server sends a
snapshot in chunks, each of which is acknowledged, and takes it back the same way.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import nats.errors
import orjson
from nats.aio.msg import Msg
from weightslab_common.bus import Bus
from weightslab_common.errors import FailedPrecondition, Unavailable

_CHUNK_BYTES = 256 * 1024
_PATIENCE_SECS = 30.0
_API = "$JS.API.STREAM"


async def _request(bus: Bus, subject: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        reply = await bus.client.request(subject, orjson.dumps(body), timeout=_PATIENCE_SECS)
    except (nats.errors.Error, TimeoutError) as error:
        raise Unavailable(f"NATS does not answer {subject}: {error}") from error
    answer: dict[str, Any] = orjson.loads(reply.data)
    if "error" in answer:
        raise FailedPrecondition(f"NATS refuses {subject}: {answer['error'].get('description', answer['error'])}")
    return answer


async def save_stream(bus: Bus, stream: str, path: Path) -> dict[str, Any]:
    """Write a stream as it is now to `path`; returns its configuration and state. Raises Unavailable, OSError."""
    chunks: asyncio.Queue[Msg] = asyncio.Queue()
    inbox = bus.client.new_inbox()
    subscription = await bus.client.subscribe(inbox, cb=chunks.put, pending_bytes_limit=-1)
    try:
        body = {"deliver_subject": inbox, "no_consumers": True, "chunk_size": _CHUNK_BYTES}
        answer = await _request(bus, f"{_API}.SNAPSHOT.{stream}", body)
        with path.open("wb") as file:
            # An empty message ends it.
            while (chunk := await asyncio.wait_for(chunks.get(), _PATIENCE_SECS)).data:
                await asyncio.to_thread(file.write, chunk.data)
                if chunk.reply:
                    await bus.client.publish(chunk.reply, b"")
        if (chunk.headers or {}).get("Status", "204") not in ("200", "204"):
            raise FailedPrecondition(f"NATS gave up on a copy of {stream}: {chunk.headers}")
    except TimeoutError as error:
        raise Unavailable(f"NATS sent no more of {stream} within {_PATIENCE_SECS:g} s") from error
    finally:
        await subscription.unsubscribe()
    return {"config": answer["config"], "state": answer["state"]}


async def load_stream(bus: Bus, stream: str, path: Path, told: dict[str, Any]) -> None:
    """Make a stream of what `save_stream` wrote and returned. Raises FailedPrecondition when there is one already."""
    answer = await _request(bus, f"{_API}.RESTORE.{stream}", {"config": told["config"], "state": told["state"]})
    subject = answer["deliver_subject"]
    try:
        with path.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                await bus.client.request(subject, chunk, timeout=_PATIENCE_SECS)
        reply = await bus.client.request(subject, b"", timeout=_PATIENCE_SECS)
    except (nats.errors.Error, TimeoutError) as error:
        raise Unavailable(f"NATS took no more of {stream}: {error}") from error
    outcome = orjson.loads(reply.data)
    if "error" in outcome:
        raise FailedPrecondition(f"NATS refuses the copy of {stream}: {outcome['error'].get('description')}")
