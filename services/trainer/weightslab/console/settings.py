"""Settings of the console."""

from __future__ import annotations

from pydantic import Field
from weightslab_common.settings import BusAccess, DataSettings


class ConsoleSettings(BusAccess, DataSettings):
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
