"""Certificates for tests: an authority, a server and a client, made anew and kept as files."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Files:
    """An authority with a certificate of the server and one of a client, as files."""

    authority: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path

    @classmethod
    def make(cls, folder: Path) -> Files:
        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        files = cls(*(folder / name for name in ("ca.pem", "server.pem", "server.key", "client.pem", "client.key")))
        authority.cert_pem.write_to_path(files.authority)
        for issued, cert, key in (
            (authority.issue_cert("localhost", "127.0.0.1"), files.server_cert, files.server_key),
            (authority.issue_cert("viewer.example"), files.client_cert, files.client_key),
        ):
            issued.cert_chain_pems[0].write_to_path(cert)
            issued.private_key_pem.write_to_path(key)
        return files

    def client(self, *, shows_certificate: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.authority)
        if shows_certificate:
            context.load_cert_chain(self.client_cert, self.client_key)
        return context
