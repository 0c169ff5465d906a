"""`python -m weightslab_gateway`: run the gateway until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import AsyncIterator

from weightslab_common import logs, service, settings, traces
from weightslab_common.errors import FailedPrecondition

from weightslab_gateway.service import Sockets, serve
from weightslab_gateway.settings import GatewaySettings


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
    try:
        traces.configure("gateway", url=told.traces_url)
        service.run(lambda: _running(told))
    except FailedPrecondition as error:
        sys.stderr.write(f"{error}\n")
        return 2
    finally:
        traces.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
