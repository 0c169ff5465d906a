"""Settings of the console."""

from __future__ import annotations

import logging

from pydantic import Field
from weightslab_common.embedded import is_free
from weightslab_common.settings import BusAccess, DataSettings, StopSettings

log = logging.getLogger(__name__)


class ConsoleSettings(BusAccess, DataSettings, StopSettings):
    """Where the console listens, and which bus it speaks on."""

    host: str = Field("localhost", validation_alias="CLI_HOST", min_length=1, description="Address of the console.")
    port: int = Field(
        60000, validation_alias="CLI_PORT", ge=0, le=65535, description="Port of the console; 0 takes a free one."
    )
    experiment: str | None = Field(
        None,
        validation_alias="WL_EXPERIMENT",
        description="The experiment that commands are for; unset means the only one there is.",
    )
    nats_url: str | None = Field(
        None,
        validation_alias="WL_NATS_URL",
        description="Address of the NATS server; unset means that of the studio in the data folder.",
    )

    def port_to_take(self, port: int | None) -> int:
        """`port`, or 0 for a free one: when none was given, or the default is busy and nobody has chosen it."""
        if port == self.port and "port" not in self.model_fields_set and not is_free(port):
            log.warning("port %d for the console is busy, perhaps by another run; taking a free one", port)
            return 0
        return port or 0
