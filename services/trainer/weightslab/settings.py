"""Settings of the SDK. Argument > environment > `.env` > default."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from weightslab_common.settings import BusAccess, DataSettings, TracesSettings


class TrainerSettings(BusAccess, TracesSettings, DataSettings):
    """What `wl.serve` reads from the environment."""

    experiment: str | None = Field(
        None,
        validation_alias="WL_EXPERIMENT",
        description="Name of the experiment; else it is made from the name of the script.",
    )
    nats_url: str | None = Field(
        None,
        validation_alias="WL_NATS_URL",
        description="Address of the NATS server; without one the trainer starts the embedded studio.",
    )
    media_worker: Literal["process", "thread"] = Field(
        "process",
        validation_alias="WL_MEDIA_WORKER",
        description="Where images are read and encoded: in a process of their own, or in the training process.",
    )
    command_timeout_secs: float = Field(
        8.0,
        gt=0,
        validation_alias="WL_COMMAND_TIMEOUT_SECS",
        description="How long a command waits for the training loop to come to its next batch.",
    )
    cli_host: str = Field("localhost", validation_alias="CLI_HOST", description="Address on which the console listens.")
    cli_port: int = Field(
        60000, ge=0, le=65535, validation_alias="CLI_PORT", description="Port of the console; 0 takes a free one."
    )
