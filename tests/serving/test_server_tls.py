"""Encrypted connections: a server that cannot prove who it is gets no audio."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import tiny_artifacts
from serving_models import HASTY, twice
from voxport.runtime.devices import plan_device
from voxport.runtime.environment import client_environment
from voxport.runtime.errors import ServerError
from voxport.runtime.serving.session import ServerSession


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[int]:
    """The port of a server on 127.0.0.1 with a certificate that nobody signed."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the command openssl, which makes the certificate")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-out", str(certificate), "-keyout", str(key)]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        ("triton+https", "certificate verify failed"),
        ("triton+grpcs", "certificate verify failed|CERTIFICATE_VERIFY_FAILED"),
    ],
)
def test_a_certificate_that_nobody_signed(impostor: int, scheme: str, message: str) -> None:
    plan = plan_device(f"{scheme}://127.0.0.1:{impostor}", client_environment())
    with pytest.raises(ServerError, match=message):
        ServerSession(tiny_artifacts.row(*twice()), plan, HASTY)
