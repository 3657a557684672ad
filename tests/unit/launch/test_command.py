"""What is started for a command line, as a shell would."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inpod.errors import ExitCode, UserError
from inpod.launch.command import find_command, installation_trees, interceptor_for, search_folders
from tests.unit.launch.test_elf import GLIBC, GO_NOTE, PT_INTERP, PT_LOAD, elf, script


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(*argv: str, search: str) -> UserError:
    with pytest.raises(UserError) as caught:
        find_command(argv, search)
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value


def test_the_first_executable_in_path_is_taken(folder: Path) -> None:
    for name, mode in (("a", 0o644), ("b", 0o755), ("c", 0o755)):
        (folder / name).mkdir()
        script(folder / name / "tool", "#!/bin/sh\n")
        (folder / name / "tool").chmod(mode)
    command = find_command(["tool", "-x"], f"{folder}/none:{folder}/a:{folder}/b:{folder}/c")
    assert command.executable == f"{folder}/b/tool"
    assert command.argv == ("tool", "-x")


def test_an_empty_place_in_path_is_the_working_directory(folder: Path) -> None:
    script(folder / "tool", "#!/bin/sh\n")
    assert find_command(["tool"], "/nowhere:").executable == f"{folder}/tool"


def test_full_path_that_is_not_here_may_be_the_pods(folder: Path) -> None:
    command = find_command([f"{folder}/none", "-x"], "/bin")
    assert (command.is_pods, command.argv, command.executable) == (True, (f"{folder}/none", "-x"), "/usr/bin/env")
    assert command.trees == ()
    assert refusal(f"{folder}/name=value", search="/bin").exit_code == ExitCode.COMMAND_NOT_FOUND
    (folder / "dangling").symlink_to("none")
    assert refusal(f"{folder}/dangling", search="/bin").exit_code == ExitCode.COMMAND_NOT_FOUND
    assert refusal("./none", search="/bin").exit_code == ExitCode.COMMAND_NOT_FOUND


def test_search_folders_are_those_that_are_there(folder: Path) -> None:
    (folder / "bin").mkdir()
    (folder / "file").touch()
    assert search_folders(f"{folder}/bin:{folder}/file:{folder}/none::bin:.") == (f"{folder}/bin",)


@pytest.mark.parametrize("argv0", ["missing", "./missing", "./folder", "folder", "plain", "./plain", "", "./bad"])
def test_statuses_are_those_of_a_shell(folder: Path, argv0: str) -> None:
    (folder / "folder").mkdir()
    (folder / "plain").write_text("#!/bin/sh\n")
    script(folder / "bad", "#!/no/such/interpreter\n")
    search = f"{folder}:/usr/bin:/bin"
    shell = subprocess.run(["bash", "-c", '"$0"', argv0], env={"PATH": search}, capture_output=True)
    assert refusal(argv0, search=search).exit_code == shell.returncode


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (elf((PT_LOAD, b"x")), "linked statically"),
        (elf(GO_NOTE), "Go"),
        (elf((PT_INTERP, b"/lib/ld-musl-x86_64.so.1")), "musl"),
    ],
)
def test_what_the_layer_cannot_be_in_is_traced(folder: Path, content: bytes, why: str) -> None:
    (folder / "tool").write_bytes(content)
    (folder / "tool").chmod(0o755)
    script(folder / "script", f"#!{folder}/tool\n")
    for argv0 in ("./tool", "./script"):
        command = find_command([argv0], "/bin")
        assert interceptor_for(command, "auto") == interceptor_for(command, "tracer") == "tracer"
        with pytest.raises(UserError) as caught:
            interceptor_for(command, "layer")
        assert caught.value.exit_code is ExitCode.NOT_INTERCEPTABLE
        assert why in caught.value.message


def test_the_layer_is_chosen_where_it_can_be(folder: Path) -> None:
    (folder / "tool").write_bytes(elf(GLIBC))
    (folder / "tool").chmod(0o755)
    command = find_command(["./tool"], "/bin")
    assert [interceptor_for(command, wanted) for wanted in ("auto", "layer", "tracer")] == ["layer", "layer", "tracer"]


def test_what_nothing_reaches_is_refused(folder: Path) -> None:
    (folder / "tool").write_bytes(elf(GLIBC, bits=1))
    (folder / "tool").chmod(0o755)
    error = refusal("./tool", search="/bin")
    assert error.exit_code is ExitCode.NOT_INTERCEPTABLE
    assert "32-bit" in error.message
    # A script that it runs is refused too, and both are named.
    script(folder / "script", f"#!{folder}/tool\n")
    error = refusal("./script", search="/bin")
    assert error.exit_code is ExitCode.NOT_INTERCEPTABLE
    assert f"{folder}/tool" in error.message


def test_text_is_run_by_sh(folder: Path) -> None:
    path = script(folder / "tool", "echo hello\n")
    command = find_command(["./tool", "x"], "/bin")
    assert command.executable == "/bin/sh"
    assert command.argv == ("/bin/sh", path, "x")


def test_other_files_cannot_be_executed(folder: Path) -> None:
    (folder / "tool").write_bytes(b"MZ\0")
    (folder / "tool").chmod(0o755)
    assert refusal("./tool", search="/bin").exit_code is ExitCode.CANNOT_EXECUTE


def test_trees_of_an_installed_program(folder: Path) -> None:
    (folder / "versions/3.11/bin").mkdir(parents=True)
    real = folder / "versions/3.11/bin/python3.11"
    shutil.copy(os.path.realpath("/bin/true"), real)
    (folder / "shims").mkdir()
    (folder / "shims/python").symlink_to(real)
    assert installation_trees([str(folder / "shims/python")]) == (f"{folder}/shims", f"{folder}/versions/3.11")


def test_trees_of_a_virtual_environment(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "env"], check=True)
    trees = installation_trees([str(folder / "env/bin/python")])
    assert str(folder / "env") in trees
    assert os.path.realpath(sys.base_prefix) in trees


def test_trees_of_a_script_are_those_of_its_interpreter_too(folder: Path) -> None:
    (folder / "env/bin").mkdir(parents=True)
    shutil.copy(os.path.realpath("/bin/sh"), folder / "env/bin/interpreter")
    (folder / "work").mkdir()
    script(folder / "work/run", f"#!{folder}/env/bin/interpreter\n")
    trees = find_command(["work/run"], "/bin").trees
    assert {f"{folder}/work", f"{folder}/env"} <= set(trees)


def test_the_root_is_never_a_tree() -> None:
    assert installation_trees(["/program"]) == ()
    assert "/" not in installation_trees(["/sbin/program"])
    assert "/usr" in installation_trees(["/usr/bin/env"])
