"""Programs that may be executed but not read, started under the layer in a played session of an ordinary user.

    python unreadable_programs.py SET_ID

Prints what they say, and what the session was told of them. SET_ID is one of another user.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fakes.pod import Pod
from tests.fakes.session import FakeSession

from inpod.protocol.layer import Warn
from inpod.session.tracer import LAYER, native_folder

RUN = "$0/cat /app/config.yaml; echo; $0/static /app/config.yaml a > /dev/null; echo $?; $0/none; $1"

with tempfile.TemporaryDirectory() as folder:
    source = Path(__file__).with_name("read_file.c")
    subprocess.run(["gcc", "-static", source, "-o", f"{folder}/static"], check=True)
    for program in ("cat", "none"):
        shutil.copy("/bin/cat", f"{folder}/{program}")
    for program, mode in (("cat", 0o111), ("static", 0o111), ("none", 0)):
        Path(folder, program).chmod(mode)
    rules = f"files\tread\nlocal-tree\t{folder}\nlocal-tree\t{Path(sys.argv[1]).parent}\n"
    with FakeSession.running(Path(folder) / "session", Pod(files={"/app/config.yaml": b"hello"}), rules) as session:
        environment = {"PATH": "/usr/bin:/bin", "INPOD_SESSION": str(session.folder)}
        environment["LD_PRELOAD"] = str(native_folder() / LAYER)
        subprocess.run(["sh", "-c", RUN, folder, sys.argv[1]], env=environment, check=True)
        for warning in session.asked(Warn):
            print(warning.why, Path(warning.path.decode()).name)
