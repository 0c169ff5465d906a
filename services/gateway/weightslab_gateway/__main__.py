"""`python -m weightslab_gateway`: run the gateway until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import AsyncIterator

from weightslab_common import logs, service, settings
from weightslab_common.bus_tls import BadCertificate
from weightslab_common.ports import PortBusy

from weightslab_gateway.service import Sockets, serve
from weightslab_gateway.settings import GatewaySettings


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="weightslab_gateway",
        description="The public API of WeightsLab. Every setting can be given by an environment variable, too.",
    )
    parser.add_argument("--insecure", action="store_const", const=True, help="listen beyond loopback without WL_TOKEN")
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
    told = settings.load(GatewaySettings, insecure=flags.insecure, bind=flags.bind)
    if told.fault:
        sys.stderr.write(told.fault + "\n")
        return 2
    logs.configure("gateway", level=told.log_level, format=told.log_format)
    try:
        service.run(lambda: _running(told))
    except (PortBusy, BadCertificate) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
