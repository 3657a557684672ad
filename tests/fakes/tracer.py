"""Serves one traced program for a played session: FOLDER PROCESS LISTENER. Says an errno, and ends with the program."""

import ctypes
import sys
import time

LOOK_EVERY_S = 0.02


def main(library: str, folder: str, process: str, listener: str) -> None:
    """Serve, in a process of its own: the library knows one session."""
    tracer = ctypes.CDLL(library)
    print(tracer.inpod_tracer_serve(folder.encode(), int(process), int(listener), -1), flush=True)
    while tracer.inpod_tracer_served():
        time.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
