"""TLS of the connection to NATS."""

from __future__ import annotations

import ssl
from pathlib import Path

from weightslab_common.errors import FailedPrecondition
from weightslab_common.settings import BusAccess, load


class BadCertificate(FailedPrecondition):
    """The certificate, the key or the authority cannot be used. The message says which setting, and why."""


def bus_context(*, authority: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """How the NATS server is checked and what it is shown; None when no setting asks for TLS. Raises BadCertificate."""
    if (certificate is None) != (key is None):
        raise BadCertificate("WL_NATS_CERT and WL_NATS_KEY belong together: set both or none")
    if authority is None and certificate is None:
        return None
    try:
        context = ssl.create_default_context(cafile=authority)
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise BadCertificate(
            f"WL_NATS_CA={authority}, WL_NATS_CERT={certificate}, WL_NATS_KEY={key} cannot be used: {reason(error)}"
        ) from error
    return context


def context_of(settings: BusAccess) -> ssl.SSLContext | None:
    """The TLS that the settings ask for. Raises BadCertificate."""
    return bus_context(authority=settings.nats_ca, certificate=settings.nats_cert, key=settings.nats_key)


def told_context() -> ssl.SSLContext | None:
    """As `context_of`, for what the environment says. Raises BadCertificate."""
    return context_of(load(BusAccess))


def reason(error: OSError) -> str:
    """What went wrong, without the numbers."""
    return error.strerror or str(error)
