"""Programs that nobody may look into, and one that would gain rights, traced in a played session of an ordinary user.

Prints what they say, and what the session was told of them.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.fakes.pod import Pod
from tests.fakes.session import FakeSession

from inpod.protocol.layer import Warn
from inpod.session.tracer import LIBRARY, TRACE, native_folder

NOT_DUMPABLE = """
import ctypes, os
print(os.path.exists("/app/config.yaml"))
ctypes.CDLL(None).prctl(4, 0)  # PR_SET_DUMPABLE
print([os.path.exists("/app/config.yaml") for _ in range(3)])
"""
UNREADABLE = (
    "for _ in 1 2 3; do $0/cat /app/config.yaml 2>&1 | grep -c 'No such file'; done; cat /app/config.yaml; echo"
)
SET_ID = "for _ in 1 2; do /bin/su --version > /dev/null && echo ran; done"

with tempfile.TemporaryDirectory() as folder:
    shutil.copy("/bin/cat", f"{folder}/cat")
    Path(folder, "cat").chmod(0o111)
    pod = Pod(files={"/app/config.yaml": b"hello"})
    rules = f"files\tread\nlocal-tree\t{folder}\n"
    with FakeSession.running(Path(folder) / "session", pod, rules) as session:
        session.tracer = native_folder() / LIBRARY
        for command in (["python3", "-c", NOT_DUMPABLE], ["sh", "-c", UNREADABLE, folder], ["sh", "-c", SET_ID]):
            environment = {"PATH": "/usr/bin:/bin", "INPOD_SESSION": str(session.folder)}
            environment["INPOD_EXEC"] = f"/usr/bin/{command[0]}"
            subprocess.run(command, executable=native_folder() / TRACE, env=environment, check=True)
        for warning in session.asked(Warn):
            print(warning.why, warning.path.decode().removeprefix(folder))
