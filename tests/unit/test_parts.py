"""What becomes of the whole run."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT_S = 60


def test_part_that_cannot_be_started_fails_the_run(tmp_path: Path) -> None:
    """Without setpriv, which starts each."""
    command = [sys.executable, "-m", "tests.parts", "one", "another"]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT_S, cwd=ROOT, env={**os.environ, "PATH": str(tmp_path)}
    )
    assert run.returncode == 1
    assert "setpriv" in run.stderr
