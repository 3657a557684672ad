"""Configurations in YAML and TOML."""

import pytest

from inpod.config.env import Env
from inpod.config.incoming import Incoming
from inpod.config.load import Content, parse
from inpod.config.schema import Network
from inpod.errors import UserError

JSON = b"""{"target": {"path": "pod/a", "namespace": "n"}, "telemetry": false, "feature": {
  "network": {"incoming": {"mode": "steal", "ports": [80], "port_mapping": [[3000, 80]]}, "dns": false},
  "env": {"override": {"A": "1"}}}}"""
YAML = b"""# mine
target:
  path: pod/a
  namespace: n
telemetry: false
feature:
  network:
    incoming: {mode: steal, ports: [80], port_mapping: [[3000, 80]]}
    dns: false
  env:
    override:
      A: "1"
"""
TOML = b"""telemetry = false
[target]
path = "pod/a"
namespace = "n"
[feature.network]
dns = false
[feature.network.incoming]
mode = "steal"
ports = [80]
port_mapping = [[3000, 80]]
[feature.env]
override = {A = "1"}
"""


def test_all_forms_say_the_same() -> None:
    found = parse(JSON, "c.json")
    assert found != Content()
    assert found == parse(YAML, "c.yaml") == parse(YAML, "c.YML") == parse(TOML, "c.toml")
    assert parse(b"", "c.yaml") == parse(b"", "c.toml") == parse(b"# nothing\n", "c.yml") == Content()


def test_words_of_yaml_are_those_of_its_later_version() -> None:
    text = b"""feature:
  network: {incoming: {mode: off, ignore_localhost: true, ports: [8080]}, dns: ~}
  env: {override: {A: yes, B: 2024-01-01, C: 010, D: 'x'}}
"""
    file = parse(text, "c.yaml").file
    assert isinstance(file.feature.network, Network)
    assert file.feature.network.incoming == Incoming(mode="off", ignore_localhost=True, ports=[8080])
    assert isinstance(file.feature.env, Env)
    assert file.feature.env.overrides == {"A": "yes", "B": "2024-01-01", "C": "010", "D": "x"}


@pytest.mark.parametrize(
    ("name", "text", "message", "caret"),
    [
        ("c.yaml", "target: a\n  path: b\n", "c.yaml:2 is no YAML: mapping values are not allowed here.", ": b"),
        ("c.yaml", "target: 'x\n", "c.yaml:2 is no YAML: found unexpected end of stream.", ""),
        ("c.yaml", "a: \x01", "c.yaml:1 is no YAML: ", "a"),
        ("c.toml", "[target]\npath = x\n", "c.toml:2 is no TOML: invalid value.", "x"),
        ("c.toml", "[target", "c.toml:1 is no TOML: ", ""),
        ("c.toml", "a = " + "9" * 5000, "c.toml:1 is no TOML: exceeds the limit", ""),
        ("c.yaml", "a: !!bool x", "c.yaml:1 is no YAML: ", "a"),
        ("c.yaml", "a: !!timestamp x", "c.yaml:1 is no YAML: ", "a"),
        ("c.yaml", "a: " + "[" * 5000, "c.yaml:1 is no YAML: ", "a"),
        ("c.yaml", "feature:\n  fs: read\nfeature: {}\n", "c.yaml:3 is no YAML: the key 'feature' stands twice.", "fe"),
        (
            "c.json",
            '{"feature": {"fs": "read", "fs": "local"}}',
            "c.json: the key 'fs' stands twice in an object.",
            None,
        ),
        ("c.toml", "key = 2024-01-01", "c.toml: key must be a string, not a date.", None),
        ("c.toml", "target = 10:00:00", "c.toml: target must be a string or an object, not a time.", None),
        ("c.yaml", "key: !!binary eA==", "c.yaml: key must be a string, not a bytes.", None),
        ("c.yaml", "1: x", "c.yaml: the file's keys must be strings.", None),
        ("c.yaml", "feature: {env: {override: {1: x}}}", "c.yaml: feature.env.override's keys must be strings.", None),
        ("c.yaml", "- a\n", "c.yaml: the file must be an object, not a list.", None),
        ("c.yaml", "feature: {fs: {mod: x}}\n", "c.yaml: there is no key 'feature.fs.mod'.", None),
        ("c.toml", "kubeconfig = 'x'\n", "c.toml: mirrord's key 'kubeconfig' is not there yet in inpod.", None),
        (
            "c.yaml",
            "feature: {network: {incoming: {ports: [0]}}}",
            "c.yaml: feature.network.incoming.ports[0] must be",
            None,
        ),
    ],
)
def test_a_mistake_is_said_with_its_place(name: str, text: str, message: str, caret: str | None) -> None:
    with pytest.raises(UserError) as caught:
        parse(text.encode(), name)
    assert caught.value.message.startswith(message)
    assert "\n" not in caught.value.message
    if caret is None:
        assert caught.value.shown == ""
    else:
        line, mark = caught.value.shown.split("\n")
        assert line[mark.index("^") :].startswith(caret)
