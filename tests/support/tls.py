"""A certificate for localhost, made by openssl for one test session."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

__all__ = ["Certificate"]


class Certificate:
    """Self-signed, valid for localhost and 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self.key, self.file = folder / "key.pem", folder / "cert.pem"
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
        names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
        subprocess.run(
            [*command.split(), "-nodes", "-days", "2", "-subj", "/CN=localhost"]
            + ["-addext", names, "-keyout", str(self.key), "-out", str(self.file)],
            check=True,
            capture_output=True,
        )

    def server(self) -> ssl.SSLContext:
        """What a server with this certificate uses."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.file, self.key)
        return context

    def client(self) -> ssl.SSLContext:
        """What a client that trusts it uses."""
        return ssl.create_default_context(cafile=str(self.file))
