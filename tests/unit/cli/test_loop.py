"""What a command's loop says of itself."""

import asyncio
import contextlib
import gc
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from inpod.cli.loop import run
from tests.packages import need

LIMIT_S = 20

TURNS = 12
"""Of the loop: more than a connection takes until its handshake waits for an answer."""


@pytest.fixture
def tls_port(tmp_path: Path) -> Iterator[int]:
    """Where handshakes are answered."""
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    make = [need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=LIMIT_S)
    identity = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    identity.load_cert_chain(certificate, key)

    def serve() -> None:
        with contextlib.suppress(OSError):  # the listener is shut down
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(LIMIT_S)
                    identity.wrap_socket(connection, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve)
        server.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        server.join(LIMIT_S)


def test_a_connection_that_is_given_up_in_its_handshake_says_nothing(
    tls_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def give_up(after: int) -> None:
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        loop = asyncio.get_running_loop()
        connecting = asyncio.ensure_future(loop.create_connection(asyncio.Protocol, "127.0.0.1", tls_port, ssl=tls))
        for _ in range(after):
            await asyncio.sleep(0)
        connecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            transport, _ = await connecting
            transport.abort()
        # The next connection is served after this one: what this one's server says has come by then.
        transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", tls_port, ssl=tls)
        transport.abort()

    for after in range(TURNS):
        run(give_up(after))
    assert not caplog.records


def test_a_fault_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        def later() -> None:
            raise ZeroDivisionError

        asyncio.get_running_loop().call_soon(later)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    run(fail())
    assert "ZeroDivisionError" in caplog.text


def test_garbage_is_collected_while_a_command_runs() -> None:
    async def look() -> bool:
        return gc.isenabled()

    was_enabled = gc.isenabled()
    gc.disable()
    try:
        assert run(look())
    finally:
        gc.unfreeze()
        if not was_enabled:
            gc.disable()
