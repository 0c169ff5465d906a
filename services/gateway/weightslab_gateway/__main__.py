"""`python -m weightslab_gateway`: run the gateway until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import contextlib
import logging
import resource
import sys
from collections.abc import AsyncIterator

from weightslab_common import logs, service, settings, traces
from weightslab_common.errors import FailedPrecondition

from weightslab_gateway.service import Sockets, serve
from weightslab_gateway.settings import GatewaySettings

log = logging.getLogger(__name__)

# For the bus, the listening sockets, files.
OWN_DESCRIPTORS = 100


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="weightslab_gateway",
        description="The public API of WeightsLab. Every setting can be given by an environment variable, too.",
    )
    parser.add_argument("--insecure", action="store_const", const=True, help="listen beyond loopback without WL_TOKEN")
    parser.add_argument(
        "--single-port", action="store_const", const=True, help="gRPC at ENVOY_PORT, too (WL_SINGLE_PORT)"
    )
    parser.add_argument("--bind", metavar="ADDRESS", help="address to listen on (WL_BIND)")
    return parser.parse_args()


def _allow_connections(max_connections: int) -> None:
    """Let this process hold so many descriptors: many systems allow 1,024 unless a process asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max_connections + OWN_DESCRIPTORS
    if hard != resource.RLIM_INFINITY and hard < wanted:
        log.warning("the system allows %d descriptors: with more connections clients have to wait", hard)
        wanted = hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.asynccontextmanager
async def _running(told: GatewaySettings) -> AsyncIterator[None]:
    # Only now: whoever sees an open port may send a signal, and those are listened to by now.
    async with serve(told, Sockets.open(told)):
        yield


def main() -> int:
    """Returns the exit status: 2 when the gateway cannot start as it was told to."""
    flags = _flags()
    told = settings.load(GatewaySettings, insecure=flags.insecure, bind=flags.bind, single_port=flags.single_port)
    if told.fault:
        sys.stderr.write(told.fault + "\n")
        return 2
    logs.configure("gateway", level=told.log_level, format=told.log_format)
    _allow_connections(told.max_connections)
    try:
        traces.configure("gateway", url=told.traces_url)
        service.run(lambda: _running(told), stop_secs=told.stop_secs)
    except FailedPrecondition as error:
        sys.stderr.write(f"{error}\n")
        return 2
    finally:
        traces.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
