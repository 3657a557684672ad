"""Says each line of its input, and each of the signals that it is given by their names; ends with its input."""

import os
import signal
import sys
import threading

NUMBERS = {signal.Signals[name] for name in sys.argv[1:]}


def say_signals() -> None:
    # Not in handlers: Python would run them when the call ends that it is in, or is about to make. So one for a signal that
    # came shortly before a read would be run when there is a line.
    while True:
        number = signal.sigwait(NUMBERS)
        os.write(1, f"got-{signal.Signals(number).name}.\n".encode())


for each in NUMBERS:
    # What is ignored, as it may be from the start, nobody can wait for.
    signal.signal(each, lambda *_: None)
signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
threading.Thread(target=say_signals, daemon=True).start()
print("ready.", flush=True)
for line in sys.stdin:
    print(f"read-{line.strip()}.", flush=True)
