"""Processes that tests start: their lines as they come, and an end that always comes."""

import os
import select
import subprocess
import time
from typing import IO

LIMIT_S = 60


def next_line(stream: IO[str] | None) -> str:
    """Return the next line of a pipe, without its end; "" when the pipe has ended.

    Byte by byte from the descriptor: a reader in a thread would hold the stream's lock, and closing the stream would
    then wait for a line that never comes.

    Raises:
        AssertionError: nothing came within LIMIT_S.
    """
    assert stream is not None
    end = time.monotonic() + LIMIT_S
    line = bytearray()
    while not line.endswith(b"\n"):
        if not select.select([stream], [], [], max(0, end - time.monotonic()))[0]:
            raise AssertionError(f"silent for {LIMIT_S} s, after {bytes(line)!r}")
        byte = os.read(stream.fileno(), 1)
        if not byte:
            break
        line += byte
    return line.decode().rstrip("\n")


def end(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Ask a process to end, and return the rest of its output and errors. One that does not end is killed, and told."""
    process.terminate()
    try:
        return process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
