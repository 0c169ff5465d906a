"""TLS of the public ports: certificates read once at the start, and told of in one sentence when they do not fit."""

from __future__ import annotations

import ssl
from pathlib import Path

from weightslab_common.bus_tls import BadCertificate, reason


def server_context(*, certificate: Path, key: Path, client_authority: Path | None) -> ssl.SSLContext:
    """What a server presents; with `client_authority` it takes only clients with a certificate of that authority.

    Raises BadCertificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise BadCertificate(
            f"WL_TLS_CERT={certificate} and WL_TLS_KEY={key} cannot be used: {reason(error)}"
        ) from error
    if client_authority is not None:
        try:
            context.load_verify_locations(client_authority)
        except (OSError, ssl.SSLError) as error:
            raise BadCertificate(f"WL_TLS_CLIENT_CA={client_authority} cannot be used: {reason(error)}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context
