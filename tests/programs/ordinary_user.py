"""A traced shell in a played session, all of one ordinary user. Prints what the shell says."""

import subprocess
import tempfile
from pathlib import Path

from tests.fakes.pod import Pod
from tests.fakes.session import FakeSession

from inpod.session.tracer import LIBRARY, TRACE, native_folder

ASKS = "id -u; cat /app/config.yaml; echo; grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status"

with tempfile.TemporaryDirectory() as folder:
    pod = Pod(files={"/app/config.yaml": b"hello"})
    with FakeSession.running(Path(folder) / "session", pod, "files\tread\n") as session:
        session.tracer = native_folder() / LIBRARY
        environment = {"PATH": "/usr/bin:/bin", "INPOD_SESSION": str(session.folder), "INPOD_EXEC": "/bin/sh"}
        trace = native_folder() / TRACE
        subprocess.run(["sh", "-c", ASKS], executable=trace, env=environment, check=True)
