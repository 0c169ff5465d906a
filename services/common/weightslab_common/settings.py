"""Settings that more than one service reads. Flag > environment > `.env` > file of secrets > default."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

from pydantic import DirectoryPath, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

# Docker, Kubernetes and systemd give secrets as files of one folder, named by us.
SECRETS_DIR = "WL_SECRETS_DIR"


class ServiceSettings(BaseSettings):
    """The base of every service's settings. Fields name their variable by `validation_alias`."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", populate_by_name=True, frozen=True
    )

    secrets_dir: DirectoryPath | None = Field(
        None,
        validation_alias="WL_SECRETS_DIR",
        description="Folder with a file for each secret, named as its variable (`WL_TOKEN`, …).",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias="WL_LOG_LEVEL", description="The least severe log level that is written."
    )
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", validation_alias="WL_LOG_FORMAT", description="`auto` writes text to a terminal and JSON elsewhere."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Secrets come from files where WL_SECRETS_DIR says so; what is said otherwise wins over them."""
        folder = os.environ.get(SECRETS_DIR)
        secrets: tuple[PydanticBaseSettingsSource, ...] = ()
        if folder and Path(folder).is_dir():
            secrets = (SecretsSettingsSource(settings_cls, secrets_dir=folder),)
        return init_settings, env_settings, dotenv_settings, *secrets


class BusAccess(ServiceSettings):
    """What the NATS server is shown, and how it is checked."""

    nats_token: str | None = Field(
        None, validation_alias="WL_NATS_TOKEN", repr=False, description="Token for the NATS server."
    )
    nats_ca: Path | None = Field(
        None,
        validation_alias="WL_NATS_CA",
        description="Authority (PEM) of the NATS server's certificate: TLS is then spoken to it.",
    )
    nats_cert: Path | None = Field(
        None, validation_alias="WL_NATS_CERT", description="Certificate (PEM) that is shown to the NATS server."
    )
    nats_key: Path | None = Field(
        None, validation_alias="WL_NATS_KEY", description="Private key (PEM) of WL_NATS_CERT."
    )


class TracesSettings(ServiceSettings):
    """For services that can be traced."""

    traces_url: str | None = Field(
        None,
        validation_alias="WL_TRACES_URL",
        description="OTLP/HTTP collector for traces, like `http://localhost:4318/v1/traces`; needs `[telemetry]`.",
    )


class BusSettings(BusAccess, TracesSettings):
    """For services that speak on the bus."""

    nats_url: str = Field(
        "nats://127.0.0.1:4222",
        validation_alias="WL_NATS_URL",
        description="Address of the NATS server; several of a cluster are separated by commas.",
    )


class StopSettings(ServiceSettings):
    """For services that are told to stop by a signal."""

    stop_secs: float = Field(
        25.0,
        gt=0,
        validation_alias="WL_STOP_SECS",
        description="A service that is told to stop ends within this, whatever is not done by then.",
    )


class DataSettings(ServiceSettings):
    """For services that keep files."""

    data_dir: Path = Field(
        Path(".weightslab"), validation_alias="WL_DATA_DIR", description="Folder for everything that is kept on disk."
    )


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def load(kind: type[SettingsT], **flags: object) -> SettingsT:
    """Return the settings of `kind`; a wrong value ends the process with one clear sentence per value.

    `flags` are values from the command line; None means not given.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return kind(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        _stop(kind, error)


def _stop(kind: type[BaseSettings], error: ValidationError) -> NoReturn:
    for fault in error.errors():
        name = str(fault["loc"][0]) if fault["loc"] else kind.__name__
        alias = kind.model_fields[name].validation_alias if name in kind.model_fields else None
        sys.stderr.write(f"setting {alias or name}: {fault['msg']} (got {fault['input']!r})\n")
    sys.exit(2)
