"""Probe, uvicorn (ASGI): prints what a program sees of the pod. The lines are described in tests/matrix.py."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn


def say(*words: object) -> None:
    """Print one line at once."""
    print(*words, flush=True)


async def call(url: str) -> str:
    """Return the body of a GET, by asyncio's own sockets."""
    host, _, path = url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    reader, writer = await asyncio.open_connection(name, int(port or 80))
    writer.write(f"GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
    body = (await reader.read()).partition(b"\r\n\r\n")[2]
    writer.close()
    return body.decode().strip()


async def app(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Look around at start-up; answer every request with the program's name."""
    if scope["type"] == "lifespan":
        await receive()
        say("env", os.environ.get("GREETING", ""))
        path = os.environ["PROBE_FILE"]
        with open(path) as file:
            say("file", file.read().strip())
        say("list", ",".join(sorted(os.listdir(os.path.dirname(path)))))
        os.chdir(os.path.dirname(path))
        say("cwd", os.getcwd(), os.path.getsize(os.path.basename(path)))
        words, folder = ("cat", os.path.basename(path)), os.path.dirname(path)
        child = await asyncio.create_subprocess_exec(*words, cwd=folder, stdout=asyncio.subprocess.PIPE)
        say("child", (await child.communicate())[0].decode().strip())
        say("host", socket.gethostname())
        say("call", await call(os.environ["PROBE_URL"]))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    (peer, local) = scope["client"], scope["server"]
    say("request", scope["path"], peer[0], peer[1], local[0], local[1])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"15")]})
    await send({"type": "http.response.body", "body": b"program uvicorn"})
    if scope["path"] == "/stop":
        say("bye")
        os._exit(7)


class Server(uvicorn.Server):
    """Says where it listens."""

    async def startup(self, sockets: Any = None) -> None:
        """Start, then print the listener's address."""
        await super().startup(sockets)
        for server in self.servers:
            for sock in server.sockets:
                address = sock.getsockname()
                say("listening", address[0], address[1])


if __name__ == "__main__":
    config = uvicorn.Config(app, host="0.0.0.0", port=int(os.environ["PROBE_PORT"]), log_level="error")
    Server(config).run()
