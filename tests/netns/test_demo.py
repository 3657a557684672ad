"""The demo holds, and says so only when it does."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from inpod.demo import stage
from inpod.demo.show import show
from inpod.demo.stage import InPlace, in_its_place, running_pod
from inpod.errors import ExitCode

LIMIT_S = 60
STEPS = ["environment", "file", "hostname", "outgoing", "mirrored", "stolen", "undone"]
DEMO = [sys.executable, "-m", "inpod", "demo"]
AS_USER = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
"""What follows runs without any right: to it, it is user 1000."""

SHORT_S = 3.0
"""How long the demo waits here for what never comes."""


def outcomes(text: str) -> dict[str, bool]:
    """Return whether each step held."""
    return {name: word == "ok" for word, name in re.findall(r"^  (ok|FAIL) +(\w+)", text, re.MULTILINE)}


def shown(in_place: InPlace, monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Run a demo whose program is started otherwise; it must notice."""
    monkeypatch.setattr(stage, "STEP_LIMIT_S", SHORT_S)
    out = io.StringIO()
    assert not show(out.write, in_place)
    return outcomes(out.getvalue())


def failed(found: dict[str, bool]) -> set[str]:
    assert list(found) == STEPS
    return {name for name, held in found.items() if not held}


def test_all_holds_for_root() -> None:
    done = subprocess.run(DEMO, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.stderr == ""
    assert outcomes(done.stdout) == dict.fromkeys(STEPS, True)
    assert "7 of 7 steps held." in done.stdout
    assert done.returncode == 0


def test_all_holds_where_the_pod_has_a_folder_of_that_name() -> None:
    done = subprocess.run(DEMO, capture_output=True, text=True, timeout=LIMIT_S, cwd="/srv")
    assert outcomes(done.stdout) == dict.fromkeys(STEPS, True)
    assert done.returncode == 0


def test_all_holds_for_an_ordinary_user() -> None:
    done = subprocess.run([*AS_USER, *DEMO], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.stderr == ""
    assert outcomes(done.stdout) == dict.fromkeys(STEPS, True)
    assert done.returncode == 0


def test_stealing_is_left_out_where_there_are_no_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    no_means = [sys.executable, "-c", f"raise SystemExit({ExitCode.NO_MEANS:d})"]
    out = io.StringIO()
    assert show(out.write, lambda pid, own: no_means if "--steal" in own else in_its_place(pid, own))
    assert "Stealing is left out" in out.getvalue()
    assert outcomes(out.getvalue()) == dict.fromkeys([step for step in STEPS if step != "stolen"], True)


def test_the_values_are_those_of_the_pod_of_the_moment() -> None:
    said = [subprocess.run(DEMO, capture_output=True, text=True, timeout=LIMIT_S).stdout for _ in range(2)]
    menus = [set(re.findall(r"soup \w{4}", text)) for text in said]
    assert [len(each) for each in menus] == [1, 1]
    assert menus[0] != menus[1]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["--fs-mode", "local"], {"file", "hostname"}),
        (["-x", "POD_*"], {"environment"}),
        (["-s", "OTHER"], {"environment"}),
        (["--config-file", "off.json"], {"mirrored"}),
        (["--steal"], {"mirrored"}),
    ],
)
def test_what_inpod_is_told_to_leave_out_does_not_hold(
    options: list[str], wrong: set[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "off.json"
    file.write_text(json.dumps({"feature": {"network": {"incoming": "off"}}}))
    words = [str(file) if word == file.name else word for word in options]
    found = shown(lambda pid, own: in_its_place(pid, [*words, *own]), monkeypatch)
    assert failed(found) == wrong


def test_mirroring_is_no_stealing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failed(shown(lambda pid, own: in_its_place(pid, []), monkeypatch)) == {"stolen"}


def test_nothing_holds_without_inpod(monkeypatch: pytest.MonkeyPatch) -> None:
    # In a network of its own: on this machine, its port may be somebody's.
    assert failed(shown(lambda pid, own: ["unshare", "--net"], monkeypatch)) == set(STEPS) - {"undone"}


def test_nothing_holds_in_another_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_pod() as other:
        found = shown(lambda pid, own: in_its_place(other.pid, own), monkeypatch)
    assert failed(found) == set(STEPS) - {"undone"}


@pytest.mark.parametrize("stolen", [False, True])
@pytest.mark.parametrize(
    ("kill", "status"),
    [
        (lambda process: process.kill(), -signal.SIGKILL),
        (lambda process: process.terminate(), -signal.SIGTERM),
        (lambda process: os.killpg(process.pid, signal.SIGINT), 130),
    ],
    ids=["SIGKILL", "SIGTERM", "Ctrl-C"],
)
def test_nothing_stays_when_it_is_interrupted(
    kill: "Callable[[subprocess.Popen[str]], None]", status: int, stolen: bool, tmp_path: Path
) -> None:
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "DEMO_TEST": str(tmp_path)}
    process = subprocess.Popen(
        DEMO, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, start_new_session=True
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    pod = int(re.findall(r"process (\d+)", first)[0])
    for line in process.stdout:
        if ("stolen" if stolen else "environment") in line:
            break
    # Or it would be at its end by the time that all processes were looked at.
    process.send_signal(signal.SIGSTOP)
    assert _of_this_test(tmp_path)
    kill(process)
    process.send_signal(signal.SIGCONT)
    assert process.wait(LIMIT_S) == status
    process.stdout.close()
    _until_gone(lambda: _of_this_test(tmp_path) + [pid for pid in [pod] if Path(f"/proc/{pid}").exists()])
    _until_gone(lambda: list(tmp_path.iterdir()))


def _of_this_test(mark: Path) -> list[int]:
    """Return the processes that have the mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"DEMO_TEST={mark}\0".encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return found


def _until_gone(there: Callable[[], Sequence[object]]) -> None:
    end = time.monotonic() + LIMIT_S
    while left := there():
        assert time.monotonic() < end, left
        time.sleep(0.05)
