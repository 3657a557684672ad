"""Fetches what tests take from elsewhere and keep in the cache: `python -m tests.fetch`, as root.

A test fetches what it lacks by itself, where it can: `just test` gives many no network but their own.
"""

import subprocess

from tests import debian11, delve
from tests.netns import bun, envoy, name_daemons, netty

ALL = (bun.binary, debian11.bare_root, delve.delve, envoy.binary, name_daemons.unpacked, netty.libraries)

if __name__ == "__main__":
    for fetch in ALL:
        try:
            fetch()
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"fetch: {error}", flush=True)  # the tests that need it say so again
