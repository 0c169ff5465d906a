"""The message bus: NATS for hints and requests, JetStream for what must not be lost.

Every payload is a protobuf message. A reply carries its gRPC status in a header, so that an error of a peer is raised
here as the error it was there.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import betterproto
import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StorageType, StreamConfig

from weightslab_common import calls, subjects, traces
from weightslab_common.errors import DeadlineExceeded, Internal, Unavailable, WeightsLabError, error_for
from weightslab_common.messages import encoded, parsed
from weightslab_common.requests import REQUEST_ID_HEADER, current_request_id, working_for
from weightslab_common.service import bounded

log = logging.getLogger(__name__)

MessageT = TypeVar("MessageT", bound=betterproto.Message)
RequestT = TypeVar("RequestT")
Handler = Callable[[RequestT], Awaitable[betterproto.Message]]

STATUS_HEADER = "Wl-Status"
MESSAGE_HEADER = "Wl-Message"

# What trainers say: kept until the ledgers have it, bounded so that a dead ledger cannot fill the disk.
RUN_STREAM = StreamConfig(
    name="WL_RUN",
    subjects=["wl.*.signals", "wl.*.values", "wl.*.samples"],
    storage=StorageType.FILE,
    discard=DiscardPolicy.OLD,
    max_bytes=8 * 1024**3,
    max_age=14 * 24 * 3600,
    duplicate_window=120,
    allow_direct=False,
)
# The last status of each experiment.
STATUS_STREAM = StreamConfig(
    name="WL_STATUS",
    subjects=["wl.*.status"],
    storage=StorageType.FILE,
    discard=DiscardPolicy.OLD,
    max_msgs_per_subject=1,
    max_bytes=256 * 1024**2,
    max_age=0,
    duplicate_window=120,
    allow_direct=True,
)

# What of a stream is ours to set; the server adds more.
_OURS = (
    "subjects",
    "storage",
    "discard",
    "max_bytes",
    "max_age",
    "max_msgs_per_subject",
    "duplicate_window",
    "allow_direct",
    "num_replicas",
)

# Below the server's default limit of 1 MiB, with room for headers.
PAYLOAD_TARGET_BYTES = 512 * 1024


# How long each step of an orderly end may take.
CLOSE_STEP_SECS = 2

NOT_CONNECTED = "the message bus is not connected: is NATS running?"


def _servers(url: str) -> list[str]:
    """The addresses of a cluster, which are separated by commas."""
    return [server.strip() for server in url.split(",") if server.strip()]


def _in_any_order(servers: list[str]) -> list[str]:
    return secrets.SystemRandom().sample(servers, len(servers))


def shown(url: str) -> str:
    """Addresses without the user and the password in them."""
    parts = (server.rpartition("://") for server in _servers(url))
    return ", ".join(scheme + mark + rest.rpartition("@")[2] for scheme, mark, rest in parts)


class Bus:
    """One connection to the bus. Make it with `Bus.connect`, end it with `close`."""

    def __init__(self, client: Client, js: JetStreamContext) -> None:
        self.client = client
        self.js = js
        self._opened = client.is_connected
        # Requests that wait for an answer.
        self._asking: set[asyncio.Task[Msg]] = set()
        self._answering: set[asyncio.Task[None]] = set()
        self._calls = calls.Calls()
        self._hears_left = False

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        name: str,
        token: str | None = None,
        on_disconnect: Callable[[], None] | None = None,
        on_reconnect: Callable[[], None] | None = None,
        wait_for_server: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> Bus:
        """Connect, and keep reconnecting for ever.

        With `wait_for_server` the first connection is awaited however long it takes; else Unavailable is raised when
        the server cannot be reached at once. With `tls` the server must speak TLS.
        """
        bus = cls.not_yet_connected()
        await bus.open(
            url,
            name=name,
            token=token,
            on_disconnect=on_disconnect,
            on_reconnect=on_reconnect,
            wait_for_server=wait_for_server,
            tls=tls,
        )
        return bus

    @classmethod
    def not_yet_connected(cls) -> Bus:
        """A bus to be opened: until then it is not connected, and requests raise Unavailable."""
        client = Client()
        return cls(client, client.jetstream(timeout=5))

    async def open(
        self,
        url: str,
        *,
        name: str,
        token: str | None = None,
        on_disconnect: Callable[[], None] | None = None,
        on_reconnect: Callable[[], None] | None = None,
        wait_for_server: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """As `connect`, for a bus that is there already."""

        client: Client | None = None

        # nats-py refuses callbacks that are no coroutine functions.
        async def disconnected() -> None:
            if client is not None and client.is_closed:
                # We ourselves have ended it.
                return
            log.warning("bus connection lost, reconnecting", extra={"bus": name})
            self._give_up_asking()
            if on_disconnect:
                on_disconnect()

        async def reconnected() -> None:
            log.info("bus connection is back", extra={"bus": name})
            if on_reconnect:
                on_reconnect()

        async def failed(error: Exception) -> None:
            log.debug("bus: %s", error)

        options: dict[str, Any] = {
            "name": name,
            "token": token,
            # nats-py would draw from the process's own stream of random numbers, which is the training's.
            "dont_randomize": True,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": 0.25,
            "connect_timeout": 5,
            "ping_interval": 5,
            "max_outstanding_pings": 2,
            "disconnected_cb": disconnected,
            "reconnected_cb": reconnected,
            "error_cb": failed,
        }
        if tls is not None:
            options["tls"] = tls
        while True:
            try:
                # A first connection is tried once per call: nats-py would otherwise never give up or report.
                client = await nats.connect(
                    _in_any_order(_servers(url)), **{**options, "allow_reconnect": True, "max_reconnect_attempts": 1}
                )
                client.options["max_reconnect_attempts"] = -1
                self.client, self.js, self._opened = client, client.jetstream(timeout=5), True
                return
            except (OSError, nats.errors.Error, TimeoutError) as error:
                if not wait_for_server:
                    raise Unavailable(f"no message bus at {shown(url)}: {error}; is NATS running?") from error
                log.debug("waiting for the bus at %s: %s", shown(url), error)
                await asyncio.sleep(0.25)

    def _give_up_asking(self) -> None:
        """An answer comes by the connection that asked, or never: whoever waits would wait until its deadline."""
        for asking in self._asking:
            asking.cancel()

    @property
    def connected(self) -> bool:
        return self.client.is_connected

    async def ensure_streams(self, *, replicas: int | None = None) -> None:
        """Create our JetStream streams, or update them to the present settings.

        `replicas`: on how many servers of a cluster each is kept; None leaves it as it is, and makes new ones with 1.
        """
        for config in (RUN_STREAM, STATUS_STREAM):
            try:
                present = (await self.js.stream_info(config.name or "")).config
            except nats.js.errors.NotFoundError:
                await self.js.add_stream(replace(config, num_replicas=replicas or 1))
                continue
            wanted = replace(config, num_replicas=replicas or present.num_replicas)
            # Adding it again would do, but the server refuses that when its disk has no room for a second one.
            if any(getattr(wanted, name) != getattr(present, name) for name in _OURS):
                await self.js.update_stream(wanted)

    async def publish(self, subject: str, message: betterproto.Message) -> None:
        """Publish a hint: receivers may miss it and notice by its numbers."""
        await self.client.publish(subject, encoded(message))

    async def store(self, subject: str, payload: bytes, *, message_id: str, timeout_secs: float = 5.0) -> int:
        """Publish to JetStream and return the stream sequence once it is on the server's disk.

        `message_id` makes a retry within the duplicate window a no-op.
        """
        ack = await self.js.publish(subject, payload, timeout=timeout_secs, headers={"Nats-Msg-Id": message_id})
        return ack.seq

    async def request(
        self,
        subject: str,
        message: betterproto.Message,
        reply_type: type[MessageT],
        *,
        timeout_secs: float,
        part: str,
    ) -> MessageT:
        """Send a request and return its reply, as `request_bytes` does."""
        return parsed(reply_type, await self.request_bytes(subject, message, timeout_secs=timeout_secs, part=part))

    async def request_bytes(
        self, subject: str, message: betterproto.Message, *, timeout_secs: float, part: str
    ) -> bytes:
        """Send a request and return its reply as it came.

        `part` is who should answer (`ledger`, `trainer`, …), for the error. Raises the WeightsLabError the peer
        raised, Unavailable when nobody listens, DeadlineExceeded when no answer comes in time. The id of the request
        that the calling task works for, and its trace, travel along. When the calling task is cancelled the peer is
        told, so that it can stop.
        """
        if not self.connected:
            # nats-py would queue the request and let it run into its timeout.
            raise Unavailable(NOT_CONNECTED)
        with traces.span(f"ask {subjects.verb_of(subject)}", kind="client", subject=subject):
            reply = await self._ask(subject, encoded(message), timeout_secs=timeout_secs, part=part)
            status = (reply.headers or {}).get(STATUS_HEADER, "0")
            if status != "0":
                # The text of an error is the payload: headers would have to be ASCII.
                raise error_for(int(status), reply.data.decode("utf-8", "replace"))
            return reply.data

    async def _ask(self, subject: str, payload: bytes, *, timeout_secs: float, part: str) -> Msg:
        request_id = current_request_id()
        call = secrets.token_hex(8)
        headers = traces.headers() | ({REQUEST_ID_HEADER: request_id} if request_id else {})
        headers |= {calls.CALL_HEADER: call, calls.TIMEOUT_HEADER: str(max(0, round(timeout_secs * 1000)))}
        asking = asyncio.create_task(self.client.request(subject, payload, timeout=timeout_secs, headers=headers))
        self._asking.add(asking)
        task = asyncio.current_task()
        assert task is not None
        cancelled_before = task.cancelling()
        try:
            reply = await asking
            if task.cancelling() > cancelled_before:
                # It came together with an answer, which nats-py then returns: the cancellation would be lost.
                raise asyncio.CancelledError
            return reply
        except asyncio.CancelledError:
            if task.cancelling() > cancelled_before:
                self._do_beside(self._tell_left(call))
                raise
            raise Unavailable(f"the message bus was lost before the {part} could answer: ask again") from None
        except nats.errors.NoRespondersError:
            raise Unavailable(f"the {part} does not answer: is it running and connected to the bus?") from None
        except (nats.errors.TimeoutError, TimeoutError):
            raise DeadlineExceeded(f"the {part} gave no answer within {timeout_secs:g} s") from None
        except (nats.errors.Error, OSError) as error:
            raise Unavailable(f"the message bus is not reachable: {error}") from error
        finally:
            self._asking.discard(asking)

    def _do_beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do what `close` waits for."""
        task = asyncio.create_task(work)
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        return task

    async def _tell_left(self, call: str) -> None:
        try:
            await self.client.publish(subjects.LEFT, call.encode())
        except (nats.errors.Error, OSError) as error:
            log.debug("the end of a call could not be told: %s", error)

    async def _hear_left(self) -> None:
        if self._hears_left:
            return
        self._hears_left = True

        async def left(message: Msg) -> None:
            self._calls.left(message.data.decode("ascii", "replace"))

        await self.client.subscribe(subjects.LEFT, cb=left)

    async def serve(
        self,
        subject: str,
        request_type: type[RequestT] | Callable[[bytes], RequestT],
        handler: Handler[RequestT],
        *,
        queue: str = "",
        max_concurrent: int = 64,
        may_stop: bool = False,
    ) -> Subscription:
        """Answer requests on `subject` by `handler`, at most `max_concurrent` at once; the others wait.

        `request_type` is that of the message, or a function that reads a request and raises InvalidArgument.
        With `may_stop` the handler is cancelled when its caller has left or has no time any more. Else it goes on, and
        may ask by `calls.stop_if_unwanted`; what was not begun by then is not done.
        """
        await self._hear_left()
        read: Callable[[bytes], Any] = request_type
        if isinstance(request_type, type):
            read = functools.partial(parsed, request_type)
        gate = asyncio.Semaphore(max_concurrent)

        async def answer(message: Msg, call: calls.Call) -> None:
            given = message.headers or {}
            async with gate:
                headers = None
                try:
                    with (
                        working_for(given.get(REQUEST_ID_HEADER, "")),
                        traces.span(
                            subjects.verb_of(message.subject), kind="server", parent=given, subject=message.subject
                        ),
                    ):
                        request = read(message.data)
                        reply = await calls.answer(call, lambda: handler(request), may_stop=may_stop)
                        payload = encoded(reply)
                except WeightsLabError as error:
                    headers, payload = {STATUS_HEADER: str(error.status.value)}, error.message.encode()
                except Exception:
                    log.exception("fault while answering %s", subject)
                    headers = {STATUS_HEADER: str(Internal.status.value)}
                    payload = f"an internal fault while answering {subject}; the log has the details".encode()
                if message.reply:
                    try:
                        await self.client.publish(message.reply, payload, headers=headers)
                    except (nats.errors.Error, OSError) as error:
                        log.warning("a reply on %s could not be sent: %s", subject, error)

        async def received(message: Msg) -> None:
            call = self._calls.begin(message.headers or {})
            self._do_beside(answer(message, call)).add_done_callback(lambda _: self._calls.end(call))

        return await self.client.subscribe(subject, queue=queue, cb=received)

    async def last_status(self, experiment: str) -> bytes | None:
        """The last stored status of `experiment`, or None. Raises Unavailable without a connection."""
        if not self.connected:
            raise Unavailable(NOT_CONNECTED)
        try:
            message = await self.js.get_last_msg(
                STATUS_STREAM.name or "", subjects.subject(experiment, subjects.STATUS)
            )
        except nats.js.errors.NotFoundError:
            return None
        return message.data

    async def close(self) -> None:
        """Give the answers their last moments, send what is pending and disconnect; each step has its bound.

        nats-py's own `drain` waits for messages that nobody will ever take from their subscription, and leaves its
        tasks behind when it is cut short.
        """
        if self._answering and self.client.is_connected:
            await asyncio.wait(self._answering, timeout=CLOSE_STEP_SECS)
        if self.client.is_connected:
            try:
                # Its own limit is for the answer only: with a server that reads nothing it cannot even ask.
                await bounded(self.client.flush(timeout=CLOSE_STEP_SECS), secs=2 * CLOSE_STEP_SECS)
            except (nats.errors.Error, TimeoutError, OSError) as error:
                log.debug("what was pending may not have been sent: %s", error)
        if self._opened:
            try:
                await bounded(self.client.close(), secs=CLOSE_STEP_SECS)
            except (nats.errors.Error, TimeoutError, OSError) as error:
                log.debug("the connection did not end in order: %s", error)
