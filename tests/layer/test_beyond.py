"""Children that no interceptor reaches: they run, and the session is told."""

import errno
import struct
from pathlib import Path

import pytest

from inpod.protocol.layer import Trace, Warn
from inpod.session.tracer import TRACE, native_folder
from tests.fakes.pod import Pod
from tests.layer.conftest import Stage


@pytest.fixture
def pod() -> Pod:
    return Pod(files={"/app/config.yaml": b"hello"})


@pytest.fixture
def rules() -> str:
    return f"tracer\t{native_folder() / TRACE}\n"


@pytest.fixture
def bits_32(tmp_path: Path) -> Path:
    """A 32-bit program that exits with status 7."""
    at = 0x10000
    code = b"\xbb\x07\0\0\0\xb8\x01\0\0\0\xcd\x80"  # mov ebx, 7; mov eax, 1; int 0x80
    entry = 52 + 32
    head = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, at + entry, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    segment = struct.pack("<IIIIIIII", 1, 0, at, at, entry + len(code), entry + len(code), 5, 4096)
    program = tmp_path / "bits-32"
    program.write_bytes(head + segment + code)
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
def test_32_bit_child_runs_and_is_told_of(stage: Stage, bits_32: Path) -> None:
    assert stage.output("bash", "-c", f"{bits_32}; echo $?; cat /app/config.yaml") == "7\nhello"
    assert stage.session.asked(Warn) == [Warn("32-bit", bytes(bits_32))]


@pytest.mark.parametrize(
    ("number", "code"),
    [("listener", errno.EBUSY), ("317", errno.EINVAL), ("317", errno.ENOSYS)],
    ids=["another listener", "older kernel", "no seccomp"],
)
def test_child_that_cannot_be_traced_runs_and_says_why(stage: Stage, number: str, code: int) -> None:
    static = stage.programs / "read_file_static"
    out = stage.run("deny_call", number, str(code), "bash", "-c", f"{static} /app/config.yaml a; cat /app/config.yaml")
    assert out.stdout == f"{static}\na\n{static}\nhello"
    (asked,) = stage.session.asked(Trace)
    assert (asked.listener, asked.errno, asked.path) == (-1, code, bytes(static))


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
def test_static_child_by_a_descriptor_stands_in_the_pod(stage: Stage) -> None:
    static = stage.programs / "read_file_static"
    assert stage.output("spawn", "fexecve", static, "/app/config.yaml", "a") == f"{static}\na\n{static}\nhello"
    code = (
        "import os, sys\n"
        "def open_copy(path):\n"
        "    fd = os.memfd_create('copy')\n"
        "    os.write(fd, open(path, 'rb').read())\n"
        "    return fd\n"
        "os.execve(open_copy(sys.argv[1]), ['copy', '/app/config.yaml', 'a'], os.environ)"
    )
    # What has no name cannot be named to inpod-trace.
    done = stage.run("python3", "-c", code, str(static))
    assert (done.returncode, done.stdout.splitlines()[1]) == (0 if stage.tracer else 2, "a")
    assert [warning.why for warning in stage.session.asked(Warn)] == ([] if stage.tracer else ["static"])


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
def test_a_daemon_stands_in_the_pod(stage: Stage) -> None:
    code = (
        "import os, sys\n"
        "told, tell = os.pipe()\n"
        "if not os.fork():\n"
        "    os.setsid()\n"
        "    if not os.fork():\n"
        "        os.chdir('/'); [os.close(fd) for fd in (0, 1, 2)]\n"
        "        os.write(tell, open('/app/config.yaml', 'rb').read()); os._exit(0)\n"
        "    os._exit(0)\n"
        "os.wait(); os.close(tell); print(os.read(told, 100).decode())"
    )
    assert stage.output("python3", "-c", code) == "hello\n"


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
@pytest.mark.parametrize("closed", ["<&-", "<&- >&-", "<&- >&- 2>&-"])
def test_program_without_standard_streams(stage: Stage, tmp_path: Path, closed: str) -> None:
    """What we open must not take their places: a program that writes to them would write into it."""
    code = (
        "import os, sys\n"
        "def name(fd):\n"
        "    try: return os.readlink(f'/proc/self/fd/{fd}')\n"
        "    except OSError: return 'closed'\n"
        "before = [name(fd) for fd in (0, 1, 2)]\n"
        "text = open('/app/config.yaml').read()\n"
        "same = before == [name(fd) for fd in (0, 1, 2)]\n"
        f"open('{tmp_path}/said', 'w').write(f'{{text}} {{same}}')"
    )
    (tmp_path / "code.py").write_text(code)
    assert stage.run("bash", "-c", f"python3 {tmp_path}/code.py {closed}").returncode == 0
    assert (tmp_path / "said").read_text() == "hello True"
