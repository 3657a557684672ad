"""`inpod verify-config`."""

import json
from pathlib import Path

import pytest

from inpod.cli.main import main
from inpod.errors import ExitCode


def written(folder: Path, name: str, content: object) -> str:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return str(folder / name)


def test_each_file_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = written(tmp_path, "a.json", {"target": "pod/a", "telemetry": False})
    bare = written(tmp_path, "b.yaml", "feature: {network: {incoming: steal}}\n")
    assert main(["verify-config", good, bare]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{good}: can be used; left aside, inpod does without: telemetry.",
        f"{bare}: can be used. It names no target: give one by -t.",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"feature": {"fs": "write"}}, "The files mode 'write'"),
        ({"target": "statefulset/db"}, "A statefulset cannot be a target yet"),
        (
            {"feature": {"network": {"incoming": {"mode": "steal", "http_filter": {"header_filter": "(?!x)"}}}}},
            "look-around",
        ),
        ({"target": "pod/{{ key }}", "key": None}, "there is no key"),
    ],
)
def test_what_exec_would_refuse_is_said_and_the_next_is_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: object, said: str
) -> None:
    wrong, good = written(tmp_path, "wrong.json", content), written(tmp_path, "good.json", {"target": "pod/a"})
    assert main(["verify-config", wrong, good]) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == f"{good}: can be used.\n"
    assert said in err.splitlines()[0]
    assert err.startswith(f"inpod: {wrong}:")


def test_the_key_is_given(tmp_path: Path) -> None:
    path = written(tmp_path, "c.json", {"target": "pod/{{ key }}"})
    assert main(["verify-config", "-k", "me", path]) == 0


def test_it_needs_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify-config"]) == ExitCode.USAGE
    assert "FILE" in capsys.readouterr().err
