"""The demo's local program: looks around, then serves. It knows nothing of inpod; what it prints is JSON lines."""

import json
import os
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer


def say(**facts: object) -> None:
    """Print a line."""
    print(json.dumps(facts), flush=True)  # noqa: T201 # the demo reads it


class Handler(BaseHTTPRequestHandler):
    """Answers as itself."""

    def do_GET(self) -> None:
        """Say who asked, and answer."""
        say(path=self.path, peer=f"{self.client_address[0]}:{self.client_address[1]}")
        body = f"the local program answers {self.path}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the base class's name
        """Stay quiet."""


def main() -> None:
    """Look around, then serve until ended."""
    say(environment=os.environ.get("POD_MENU", ""))
    with open("/srv/menu.txt") as menu, open("/etc/hostname") as name:
        say(file=menu.read().strip(), hostname=name.read().strip())
    with urllib.request.urlopen("http://orders:9000/today", timeout=10) as answer:  # noqa: S310 # a fixed address
        say(call=answer.read().decode())
    server = HTTPServer(("0.0.0.0", 8080), Handler)  # noqa: S104 # the pod's, not this machine's
    say(listening=f"{server.server_address[0]!s}:{server.server_address[1]}")
    server.serve_forever()


if __name__ == "__main__":
    main()
