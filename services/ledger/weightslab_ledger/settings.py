"""Settings of the ledger."""

from __future__ import annotations

from pydantic import Field
from weightslab_common.settings import BusSettings, DataSettings, StopSettings


class LedgerSettings(BusSettings, DataSettings, StopSettings):
    """What one ledger process can be told."""

    redis_url: str = Field(
        "redis://127.0.0.1:6379",
        validation_alias="WL_REDIS_URL",
        repr=False,
        description="Address of the Redis-protocol server that keeps catalogs and edits.",
    )
    values_bytes: int = Field(
        1536 * 1024**2,
        ge=1024**2,
        validation_alias="WL_VALUES_BYTES",
        description="Disk space per experiment for every value of every sample; the oldest are dropped beyond it.",
    )
    view_cache_bytes: int = Field(
        128 * 1024**2,
        ge=1024**2,
        validation_alias="WL_VIEW_CACHE_BYTES",
        description="Memory per experiment for the sorted views of viewers; the least used are dropped beyond it.",
    )
    snapshot_interval_secs: float = Field(
        30.0,
        gt=0,
        validation_alias="WL_SNAPSHOT_INTERVAL_SECS",
        description="How often the columns of per-sample values are written to disk; what came later is read again.",
    )
    idle_unload_secs: float = Field(
        1800.0,
        gt=0,
        validation_alias="WL_IDLE_UNLOAD_SECS",
        description="An experiment that no trainer and no viewer used for so long leaves memory until it is asked for.",
    )
    admin_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        validation_alias="WL_LEDGER_ADMIN_PORT",
        description="Port of the ledger's `/healthz`, `/readyz` and `/metrics`; unset serves none.",
    )
    bind: str = Field(
        "127.0.0.1",
        min_length=1,
        validation_alias="WL_LEDGER_BIND",
        description="Address that the ledger's admin port listens on.",
    )
    stream_replicas: int | None = Field(
        None,
        ge=1,
        le=5,
        validation_alias="WL_STREAM_REPLICAS",
        description="On how many servers of a NATS cluster the streams are kept; unset leaves them as they are.",
    )
