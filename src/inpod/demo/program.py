"""The demo's local program: looks around, then serves. It knows nothing of inpod; what it prints is JSON lines."""

import json
import os
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

CALL_LIMIT_S = 5


def main() -> None:
    """Look around, then serve until ended."""
    say(environment=os.environ.get("POD_MENU", "nothing"))
    say(file=outcome(Path("/srv/menu.txt").read_text))
    say(hostname=outcome(Path("/etc/hostname").read_text))
    say(call=outcome(call))
    server = HTTPServer(("0.0.0.0", 8080), Handler)  # noqa: S104 # inside the pod
    say(listening=f"{server.server_address[0]!s}:{server.server_address[1]}")
    server.serve_forever()


def call() -> str:
    """Ask a service that only the pod reaches."""
    with urllib.request.urlopen("http://orders:9000/today", timeout=CALL_LIMIT_S) as answer:
        text: str = answer.read().decode()
        return text


class Handler(BaseHTTPRequestHandler):
    """Answers as itself."""

    def do_GET(self) -> None:
        """Say who asked, and answer."""
        say(path=self.path, caller=f"{self.client_address[0]}:{self.client_address[1]}")
        body = f"the local program answers {self.path}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay quiet."""


def outcome(read: Callable[[], str]) -> str:
    """Return what `read` gives, or why it does not."""
    try:
        return read().strip()
    except OSError as error:
        return f"nothing ({error})"


def say(**facts: str) -> None:
    """Print a line."""
    print(json.dumps(facts), flush=True)  # noqa: T201 # the demo reads it


if __name__ == "__main__":
    main()
