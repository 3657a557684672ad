"""Configurations in YAML and TOML."""

import pytest

from inpod.config.load import Content, parse
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
    dns: no
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


@pytest.mark.parametrize(
    ("name", "text", "message", "caret"),
    [
        ("c.yaml", "target: a\n  path: b\n", "c.yaml:2 is no YAML: mapping values are not allowed here.", ": b"),
        ("c.yaml", "target: 'x\n", "c.yaml:2 is no YAML: found unexpected end of stream.", ""),
        ("c.yaml", "a: \x01", "c.yaml:1 is no YAML: ", "a"),
        ("c.toml", "[target]\npath = x\n", "c.toml:2 is no TOML: invalid value.", "x"),
        ("c.toml", "[target", "c.toml:1 is no TOML: ", ""),
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
