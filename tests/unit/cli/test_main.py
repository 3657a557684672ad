"""The command line itself: help, mistakes, and what is said when something is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from inpod.cli import main as main_
from inpod.cli.main import main, parse
from inpod.errors import ExitCode, UserError

IMPORT_LIMIT = 200
"""Modules that `inpod --help` may load; asyncio alone brings another 100."""


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"]):
        assert main(arguments) == 0
        assert "inpod demo" in capsys.readouterr().out
    assert main(["exec", "--help"]) == 0
    assert "--target TARGET" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "inpod 0.1.0\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["exce"], "exce"),
        (["exec", "--bogus"], "--bogus"),
        (["exec", "-t", "pod/x", "--bogus", "--", "true"], "--bogus"),
        (["exec", "--bogus", "-t", "pod/x", "true"], "--bogus"),
        (["exec", "-t", "pod/x"], "There is no program"),
        (["exec", "--", "true"], "There is no target"),
        (["exec", "-t", "pod/x", "--agent-startup-timeout", "-1", "--", "true"], "seconds"),
        (["exec", "-t", "pod/x", "--progress", "loud", "--", "true"], "loud"),
        (["exec", "-t", "pod/x", "--fs-mode", "write", "--", "true"], "not there yet"),
        (["exec", "-t", "x/y", "--", "true"], "form of a target"),
        (["exec", "-t", "pid/1", "-n", "staging", "--", "true"], "-n is for targets in a cluster"),
        (["exec", "-t", "netns/blue", "-e", "--", "true"], "-e is for targets in a cluster"),
        (
            ["exec", "-t", "pid/1", "--agent-startup-timeout", "5", "--", "true"],
            "--agent-startup-timeout is for targets",
        ),
        (["exec", "-t", "pod/x", "stray", "--", "true"], "stray"),
        (["exec", "-t", "pid/1", "-f", "python", "app.py"], "There is no configuration python."),
        (["exec", "-t", "pid/1", "-f", "python"], "There is no configuration python."),
        (["ls", "-o", "xml"], "xml"),
    ],
)
def test_a_mistake_is_one_line_with_a_hint(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == ExitCode.USAGE
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("inpod: ")
    assert error.count("\n") == 1
    assert said in error


@pytest.mark.parametrize(
    ("config", "options", "said"),
    [
        ({"target": {"path": "pid/1", "namespace": "staging"}}, [], "target.namespace"),
        ({"target": "pid/1", "kube_context": "staging"}, [], "kube_context"),
        ({"target": "netns/blue", "agent": {"image": {"registry": "python"}}}, [], "agent.image"),
        ({"target": "pid/1", "agent": {"ephemeral": True}}, [], "agent.ephemeral"),
        ({"target": "pid/1", "agent": {"startup_timeout": 5}}, [], "agent.startup_timeout"),
        ({"target": "pid/1"}, ["-n", "staging"], "-n"),
        ({"target": "pid/1"}, ["--context", "staging"], "--context"),
    ],
)
def test_what_is_about_a_cluster_is_refused_beside_a_target_of_this_machine_in_a_file(
    config: dict[str, object], options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "inpod.json"
    path.write_text(json.dumps(config))
    assert main(["exec", "-f", str(path), *options, "--", "true"]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith(f"inpod: {said} is for targets in a cluster, and ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["exec", "--stael", "-t", "pid/1", "--", "true"],
            "inpod exec has no option '--stael'. Did you mean --steal? See 'inpod exec --help'.",
        ),
        (["exec", "--stael=1", "true"], "inpod exec has no option '--stael'. Did you mean --steal? See 'inpod exec"),
        (
            ["ls", "--outptu", "json"],
            "inpod ls has no option '--outptu'. Did you mean --output? See 'inpod ls --help'.",
        ),
        (["ls", "staging"], "inpod ls has no use for 'staging'. See 'inpod ls --help'."),
        (["--verison"], "inpod has no option '--verison'. Did you mean --version? See 'inpod --help'."),
        (["-n", "staging", "ls"], "inpod has no option '-n'. See 'inpod --help'."),
        (["statsu"], "inpod has no command 'statsu'. Did you mean status? See 'inpod --help'."),
        (["exec", "-a", "x"], "mirrord's option '-a' is not there yet in inpod."),
        (["port-forward", "-L", "80:db:80"], "mirrord's command 'port-forward' is not there yet in inpod."),
        (["exec", "--steal=yes"], "--steal takes no value: 'yes'."),
        (["exec", "--steal", "-t"], "-t/--target needs a value."),
        (["ls", "-o", "xml"], "--output cannot be 'xml'. It is one of table, json."),
    ],
)
def test_a_wrong_word_is_named_with_the_right_one(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith(f"inpod: {said}")


@pytest.mark.parametrize("arguments", [["exec", "--stea", "--", "true"], ["ls", "--outp", "json"], ["--vers"]])
def test_options_are_written_out(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == ExitCode.USAGE
    assert "Did you mean --" in capsys.readouterr().err


def test_the_program_keeps_its_own_options() -> None:
    assert parse(["exec", "-t", "x", "--", "a", "-t", "y", "--", "--steal"]).command == [
        "a",
        "-t",
        "y",
        "--",
        "--steal",
    ]
    without = parse(["exec", "-t", "x", "python", "-m", "http.server", "--steal"])
    assert without.command == ["python", "-m", "http.server", "--steal"]
    assert not without.steal
    assert parse(["exec", "--", "--odd"]).command == ["--odd"]


def test_other_systems_are_told_what_works_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for platform, said in (("win32", "WSL"), ("darwin", "macOS")):
        monkeypatch.setattr(sys, "platform", platform)
        assert main(["demo"]) == ExitCode.USAGE
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


def test_a_fault_of_ours_asks_for_a_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(platform: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(main_, "_check_platform", fail)
    assert main(["ls"]) == 1
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.endswith("Please report it with the lines above.\n")


def test_user_errors_end_with_their_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(platform: str) -> None:
        raise UserError("It is not there", hint="Look elsewhere.", exit_code=ExitCode.TARGET_NOT_FOUND)

    monkeypatch.setattr(main_, "_check_platform", fail)
    assert main(["ls"]) == 65
    assert capsys.readouterr().err == "inpod: It is not there. Look elsewhere.\n"


def test_help_loads_little() -> None:
    code = "import sys; from inpod.cli.main import main; main(['--help']); print(len(sys.modules), 'asyncio' in sys.modules)"
    out = subprocess.run(
        [sys.executable, "-I", "-c", _with_path(code)], capture_output=True, text=True, check=True
    ).stdout
    count, has_asyncio = out.splitlines()[-1].split()
    assert int(count) < IMPORT_LIMIT
    assert has_asyncio == "False"


def _with_path(code: str) -> str:
    import inpod

    return f"import sys; sys.path.insert(0, {str(Path(inpod.__path__[0]).parent)!r}); {code}"


@pytest.mark.parametrize(
    "arguments", [["exec", "-t"], ["exec", "--agent-startup-timeout", "abc"], ["ls", "-o", "yaml"]]
)
def test_a_mistake_leads_to_the_help_of_its_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert said.endswith(f"See 'inpod {arguments[0]} --help'.\n")
    assert "_seconds" not in said


def test_for_programs_a_failure_is_json_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.json"
    path.write_text('{"target": 3}')
    assert main(["exec", "--progress", "json", "-f", str(path), "--", "true"]) == ExitCode.USAGE
    failure = json.loads(capsys.readouterr().err)
    assert failure["event"] == "Failure"
    assert failure["exit_code"] == ExitCode.USAGE
    assert "target must be" in failure["text"]
    assert failure["shown"].endswith("^")


def test_what_mirrord_would_look_at_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIRRORD_CONFIG_FILE", "x.json")
    (tmp_path / ".mirrord").mkdir()
    (tmp_path / ".mirrord/mirrord.json").write_text("{}")
    assert main(["exec", "--", "true"]) == ExitCode.USAGE
    assert "Not looked at: MIRRORD_CONFIG_FILE, .mirrord/mirrord.json." in capsys.readouterr().err
    monkeypatch.delenv("MIRRORD_CONFIG_FILE")
    assert main(["exec", "-f", ".mirrord/mirrord.json", "--", "true"]) == ExitCode.USAGE
    assert "Not looked at" not in capsys.readouterr().err


def test_the_one_variable_that_is_looked_at_is_not_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIRRORD_IGNORE_DEBUGGER_PORTS", "5005")
    assert main(["exec", "--", "true"]) == ExitCode.USAGE
    assert "Not looked at" not in capsys.readouterr().err


def test_mirrords_form_with_the_program_before_the_dashes() -> None:
    assert parse(["exec", "-t", "x", "env", "--", "-u", "A"]).command == ["env", "-u", "A"]
    assert parse(["exec", "--", "env", "--", "-u"]).command == ["env", "--", "-u"]


def test_the_file_without_a_name_is_mirrords() -> None:
    assert parse(["exec", "-t", "x", "-f", "--", "true"]).config_file == Path(".mirrord/mirrord.json")
    assert parse(["exec", "-f", "c.json", "--", "true"]).config_file == Path("c.json")


def test_options_of_mirrord_that_say_nothing_here_are_taken() -> None:
    options = parse(
        [
            "exec",
            "-l",
            "debug",
            "--agent-ttl",
            "3",
            "--no-telemetry",
            "--disable-version-check",
            "-t",
            "x",
            "--",
            "true",
        ]
    )
    assert (options.target, options.command) == ("x", ["true"])


def test_dashes_that_the_program_does_not_get_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    for words, is_told in (
        (["env", "true", "--", "x"], True),
        (["env", "--", "x"], False),
        (["--", "env", "--"], False),
    ):
        assert main(["exec", *words]) == ExitCode.USAGE
        assert ("The -- behind 'env true' is inpod's" in capsys.readouterr().err) == is_told


@pytest.mark.parametrize("words", [["--target", "pid/1"], ["--target=pid/1"], ["-t", "pid/1"], ["-f", "c.json"]])
def test_options_behind_the_program_are_its_own_and_that_is_said(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["exec", "env", *words]) == ExitCode.USAGE
    assert "There is no target. " in (said := capsys.readouterr().err)
    assert f"{words[0]} stands behind env and is its option: inpod's own stand before the program." in said
    assert main(["exec", "--", "env", *words]) == ExitCode.USAGE
    assert "stands behind" not in capsys.readouterr().err


def test_a_folder_that_is_gone_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(["exec", "-t", "pid/1", "--", "true"]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith("inpod: The folder that inpod was started in is gone")
