"""The configuration file and the command line together; what is wrong is said with its place."""

import json
from pathlib import Path

import pytest

from inpod.config.env import EnvFilter
from inpod.config.incoming import Ports
from inpod.config.load import MAX_FILE_BYTES, Options, Settings, parse, read, settings
from inpod.errors import ExitCode, UserError

Json = dict[str, object]


def chosen(content: Json, options: Options | None = None) -> Settings:
    return settings(options or Options(), parse(json.dumps(content).encode(), "c.json").file)


def refusal(content: str | Json, options: Options | None = None) -> UserError:
    text = content if isinstance(content, str) else json.dumps(content)
    with pytest.raises(UserError) as caught:
        settings(options or Options(), parse(text.encode(), "c.json").file)
    assert caught.value.exit_code is ExitCode.USAGE
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value


def incoming(**keys: object) -> Json:
    return {"feature": {"network": {"incoming": keys}}}


def test_nothing_said() -> None:
    assert chosen({}) == Settings(incoming="mirror", files="read", env=EnvFilter())
    assert settings(Options(), read(None).file) == chosen({})


def test_long_and_short_forms_mean_the_same() -> None:
    long: Json = {
        "target": {"path": "pod/web"},
        "agent": {"image": {"registry": "r/python", "tag": "3.12"}},
        "feature": {
            "env": {"include": ["A*", "B"]},
            "fs": {"mode": "local"},
            "network": {"incoming": {"mode": "steal"}},
        },
    }
    short: Json = {
        "target": "pod/web",
        "agent": {"image": "r/python:3.12"},
        "feature": {"env": {"include": "A*;B"}, "fs": "local", "network": {"incoming": "steal"}},
    }
    assert chosen(long) == chosen(short)
    assert chosen(long) == Settings(
        target="pod/web", image="r/python:3.12", incoming="steal", files="local", env=EnvFilter("A*;B")
    )


def test_booleans() -> None:
    off = chosen({"feature": {"env": False, "fs": False, "network": {"incoming": False}}})
    assert (off.env, off.files, off.incoming) == (EnvFilter(include=""), "local", "off")
    on = chosen({"feature": {"env": True, "fs": True, "network": {"incoming": True}}})
    assert on == Settings()


def test_the_command_line_comes_before_the_file() -> None:
    file: Json = {
        "target": {"path": "pod/file", "namespace": "file"},
        "kube_context": "file",
        "agent": {"image": "file", "startup_timeout": 5},
        "feature": {"env": {"exclude": "FILE"}, "fs": "read", "network": {"incoming": "off"}},
    }
    assert chosen(file) == Settings("pod/file", "file", "file", "file", 5, "off", "read", EnvFilter(exclude="FILE"))
    options = Options("pod/cli", "cli", "cli", "cli", 7, steal=True, files="local", env_include="CLI")
    assert chosen(file, options) == Settings("pod/cli", "cli", "cli", "cli", 7, "steal", "local", EnvFilter("CLI"))


def test_either_asks_for_an_ephemeral_agent() -> None:
    assert not chosen({}).is_ephemeral
    assert chosen({"agent": {"ephemeral": True}}).is_ephemeral
    assert chosen({}, Options(is_ephemeral=True)).is_ephemeral


def test_ports() -> None:
    incoming: Json = {
        "ports": [80, 3000],
        "port_mapping": [[3000, 80]],
        "listen_ports": [[80, 8080]],
        "ignore_localhost": True,
    }
    found = chosen({"feature": {"network": {"incoming": incoming}}}).ports
    assert found == Ports(only=(80, 3000), listen=((80, 8080),), mapped=((3000, 80),), ignores_localhost=True)
    assert chosen({"feature": {"network": {"incoming": {"ignore_ports": [22]}}}}).ports == Ports(ignored=(22,))


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ({"feature": {"fs": {"mod": "read"}}}, "no key 'feature.fs.mod'", "'mode'"),
        (
            {"feature": {"network": {"incoming": {"ports": [80], "ignore_ports": [81]}}}},
            "incoming.ports and feature.network.incoming.ignore_ports exclude each other",
            "Keep one",
        ),
        (
            {"feature": {"network": {"incoming": {"port_mapping": [[80, 81], [80, 82]]}}}},
            "port_mapping: the program's port 80 is there twice",
            "once",
        ),
        ({"feature": {"network": {"incoming": {"ports": [0]}}}}, "feature.network.incoming.ports", "config.md"),
        ({"feature": {"network": {"incoming": {"listen_ports": [[80]]}}}}, "incoming.listen_ports", "config.md"),
        ({"fs": "read"}, "no key 'fs'", "'feature.fs'"),
        ({"target": {"pth": "x"}}, "no key 'target.pth'", "'path'"),
        ({"xyzzy": 1}, "no key 'xyzzy'", "config.md"),
        ({"feature": {"network": {"ipv6": False}}}, "'feature.network.ipv6' is not there yet", "config.md"),
        (
            {"feature": {"network": {"incoming": {"https_delivery": {}}}}},
            "incoming.https_delivery' is not there yet",
            "",
        ),
        ({"agent": {"labels": {}}}, "'agent.labels' is not there yet", ""),
        ({"agent": {"startup_timeout": 0}}, "agent.startup_timeout", "config.md"),
        ({"feature": {"env": 3}}, "feature.env", ""),
        ({"feature": {"fs": "write"}}, "'write' (feature.fs, --fs-mode) is not there yet", "'read'"),
        ({"feature": {"fs": "red"}}, "no files mode 'red'", "'read'"),
        ({"feature": {"network": {"incoming": "both"}}}, "no mode 'both' of feature.network.incoming", "'steal'"),
        ({"feature": {"env": {"include": "A", "exclude": "B"}}}, "not both", "feature.env.exclude"),
        ("{", "c.json:1 is no JSON: ", ""),
        ("", "c.json is empty", "{}"),
        ('{\n"target": "pid/1",\n}', "c.json:3 is no JSON: ", "no comma after the last"),
        ("// why\n{}", "c.json:1 is no JSON: ", "no comments"),
        ("[]", "c.json:1: the file must be an object, not a list", ""),
        ('{"telemetry": ' + "[" * 5000 + "]" * 5000 + "}", "c.json:1 is no JSON: it is nested too deeply", ""),
        ('{"telemetry": ' + "9" * 5000 + "}", "c.json:1 is no JSON: it is nested too deeply, or has a number", ""),
        ('{"target": 3}', "target must be a string or an object, not a number", ""),
        ('{\n"target": {"path": 3}}', "c.json:2: target.path must be a string or an object, not a number", ""),
        ({"agent": 1}, "agent must be an object, not a number", ""),
        ({"feature": {"network": {"incoming": {"ports": [None]}}}}, "ports[0] must be a whole number, not null", ""),
        ({"agent": {"startup_timeout": "x"}}, "startup_timeout must be a number, not a string", ""),
        ({"agent": {"startup_timeout": 0}}, "startup_timeout must be a number above 0", ""),
        ({"feature": {"hostname": "yes"}}, "feature.hostname must be true or false, not a string", ""),
        ({"interceptor": "x"}, "interceptor cannot be 'x'; it is one of 'auto', 'layer', 'tracer'", ""),
        (incoming(ports=[1, 0]), "ports[1] must be a whole number of 1 or more", ""),
        (incoming(ports=[70000]), "ports[0] must be a whole number of 65535 or less", ""),
        (incoming(ports=[1.5]), "ports[0] must be a whole number, not one with a fraction", ""),
        (incoming(ports={}), "ports must be a list, not an object", ""),
        (incoming(port_mapping=[[1, 2], [1]]), "port_mapping[1] must be a list of 2", ""),
        (incoming(on_concurrent_steal="x"), "cannot be 'x'; it is one of 'abort', 'override', 'continue'", ""),
        (incoming(http_filter={"body_filter": {"body": "json"}}), "body_filter lacks the key 'query'", ""),
        (
            incoming(http_filter={"any_of": [{"pth": "x"}]}),
            "no key 'feature.network.incoming.http_filter.any_of[0].pth'",
            "'path'",
        ),
    ],
)
def test_what_is_wrong_is_named(content: str | Json, message: str, hint: str) -> None:
    error = refusal(content)
    assert message in error.message
    assert hint in error.hint


def test_both_lists_on_the_command_line_are_refused() -> None:
    assert "not both" in refusal({}, Options(env_include="A", env_exclude="B")).message


def test_a_later_mode_on_the_command_line() -> None:
    assert "not there yet" in refusal({}, Options(files="write")).message
    assert chosen({}, Options(files="localwithoverrides")).files == "localwithoverrides"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(UserError, match=r"Cannot read the configuration"):
            read(path)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"target": 3}', "3"),
        ('{"target" : {"namespace": "a{\\"", "path": [1]}}', "[1]"),
        ('{"xyzzy": 1}', '"xyzzy"'),
        ('{"target": {"path": "x",\n  "pth": 1}}', '"pth"'),
        ('{"feature": {"network": {"incoming": {"ports": [ 1 , 0 ]}}}}', "0"),
        ('{"feature": {"env": {"include": ["x", {"a": [1, 2]}]}}}', '{"a"'),
        ('{"target": "pid/1",}', "}"),
        ('{"target": "pid/1"', ""),
    ],
)
def test_a_caret_shows_where_it_is_wrong(text: str, place: str) -> None:
    line, caret = refusal(text).shown.splitlines()
    assert line[caret.index("^") :].startswith(place)
    assert place or len(line) == caret.index("^")


def test_what_windows_editors_put_before_the_text_is_no_mistake() -> None:
    assert parse(b"\xef\xbb\xbf{}", "c.json") == parse(b"{}", "c.json")


def test_a_file_that_is_no_json_at_all(tmp_path: Path) -> None:
    for content, said in ((b"\x7fELF\xff", "no text in UTF-8"), (b" " * (MAX_FILE_BYTES + 1), "more than 1024 KiB")):
        path = tmp_path / "file"
        path.write_bytes(content)
        with pytest.raises(UserError, match=said) as caught:
            read(path)
        assert "-f" in caught.value.hint
