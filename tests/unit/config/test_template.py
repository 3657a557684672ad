"""Templates in a configuration."""

import json
import subprocess
from pathlib import Path

import pytest

from inpod.config.load import Content, Options, parse, settings
from inpod.config.template import Values, has_templates, render
from inpod.errors import UserError

VALUES = Values("alice", {"WHO": " Bob ", "MIRRORD_BRANCH_NAME": "feature/x"})


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ key }}", "alice"),
        ("a {{key}}{{- key -}} b", "a alicealice b"),
        ("{{ git_branch }}", "feature/x"),
        ('{{ get_env(name="WHO") }}', " Bob "),
        ("{{ get_env(name='NOT', default=\"y\") }}", "y"),
        ("{{ get_env( name = `NOT` ) | default(value='y') }}", "y"),
        ('{{ get_env(name="WHO") | trim | lower }}', "bob"),
        ("{{ git_branch | replace(from='/', to='-') | upper }}", "FEATURE-X"),
        ("{{ key | default(value='other') }}", "alice"),
        ("x{# {{ no }}\n #}y", "x\ny"),
        ("{ {x} }", "{ {x} }"),
    ],
)
def test_what_stands_for_what(template: str, value: str) -> None:
    assert render("f", template, VALUES) == value


@pytest.mark.parametrize(
    ("template", "said", "hint"),
    [
        ('{{ get_env(name="NOT") }}', "the variable NOT is not set.", "default"),
        ("{{ keys }}", "no value for 'keys' in a template.", "{{ git_branch }}"),
        ("{{ key | title }}", "the filter 'title' of a template is not there.", "lower"),
        ("{{ key + 1 }}", "no value for 'key + 1' in a template.", "get_env"),
        ("{{ key(a='1') }}", "'key' of a template takes no 'a'.", "get_env"),
        ("{{ a\nb }}", "no value for 'a b' in a template.", "get_env"),
        ("{{ }}", "there is nothing in a template.", "get_env"),
        ("{% if key %}", "no value for {% … %}.", "get_env"),
    ],
)
def test_what_has_no_value_is_said_with_its_place(template: str, said: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        render("f", f'{{\n"a": "{template}"}}', VALUES)
    assert caught.value.message == f"f:2: {said}"
    assert hint in caught.value.hint
    line, caret = caught.value.shown.splitlines()
    assert line[caret.index("^") :].startswith(template[:4])


def read(text: str, key: str | None = None, name: str = "c.json") -> Content:
    return parse(text.encode(), name, key)


def test_the_key_is_that_of_the_command_line_else_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRRORD_BRANCH_NAME", "main")
    text = '{"key": "{{ git_branch }}", "target": "pod/{{ key }}"}'
    assert read(text).file.target == "pod/main"
    assert read(text, "alice").file.target == "pod/alice"
    assert read(text.replace("c.json", "c.yaml"), "b", "c.yaml").file.target == "pod/b"
    assert (
        settings(Options(), read('{"target": "{{ get_env(name="X_NOT", default="pod/y") }}"}').file).target == "pod/y"
    )
    with pytest.raises(UserError, match=r"c.json:1: there is no key\."):
        read('{"target": "pod/{{ key }}"}')


def test_the_branch_is_that_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIRRORD_BRANCH_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UserError, match=r"git names no branch here\."):
        render("f", "{{ git_branch }}", Values(None, {}))
    subprocess.run(["git", "init", "--quiet", "--initial-branch", "mine"], check=True)
    assert render("f", "{{ git_branch }}", Values(None, {})) == "mine"


def test_a_file_without_templates_has_none() -> None:
    assert (read('{"key": "{{key}}"}', "x").names_key, read('{"key": "x"}').names_key) == (True, False)
    assert not has_templates(json.dumps({"a": {"b": {"c": 1}}}))
    assert has_templates('{"a": {{ key }}}')


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.json", '{"target": "X"}'),
        ("c.yaml", 'target: "X"'),
        ("c.toml", 'target = "X"'),
        ("c.json", '{"targt": "X"}'),
        ("c.json", '{"feature": {"copy_target": true}, "target": "X"}'),
    ],
)
def test_a_value_that_is_put_in_is_shown_by_no_mistake(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", 'hunter2"' if "target" in text[:9] else "hunter2")
    with pytest.raises(UserError) as caught:
        read(text.replace("X", "{{ get_env(name='PASSWORD') }}"), name=name)
    assert "hunter2" not in caught.value.message + caught.value.hint + caught.value.shown


def test_arguments_without_commas_take_no_time() -> None:
    with pytest.raises(UserError, match="no value for"):
        render("f", "{{ get_env(" + "a='x'  " * 1000 + "! }}", VALUES)
