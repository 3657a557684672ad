"""Configurations of mirrord: what is the same, what is left aside, what is refused."""

import json
from collections.abc import Iterable, Mapping

import pytest

from inpod.config.env import EnvFilter
from inpod.config.load import Content, Options, Settings, parse, settings
from inpod.config.mirrord import ASIDE, INSTEAD, NOT_YET
from inpod.config.mistakes import keys
from inpod.config.outgoing import Way
from inpod.errors import UserError

Json = dict[str, object]


def content(value: Json) -> Content:
    return parse(json.dumps(value).encode(), "c.json")


def chosen(value: Json) -> Settings:
    return settings(Options(), content(value).file)


def refusal(value: Json) -> UserError:
    with pytest.raises(UserError) as caught:
        chosen(value)
    return caught.value


def test_what_changes_nothing_for_the_program_is_left_aside_and_told() -> None:
    found = content(
        {
            "operator": True,
            "telemetry": False,
            "internal_proxy": {"log_level": "debug"},
            "accept_invalid_certificates": False,
            "use_proxy": True,
            "agent": {"ttl": 60, "log_level": "info", "privileged": False, "image": "ghcr.io/x/mirrord:3.1"},
            "feature": {"copy_target": {"enabled": False}, "magic": {"aws": False}, "env": {"load_from_process": True}},
        }
    )
    assert settings(Options(), found.file) == Settings()
    assert set(found.aside) == {
        *("operator", "telemetry", "internal_proxy", "accept_invalid_certificates", "use_proxy"),
        *("agent.ttl", "agent.log_level", "agent.privileged", "agent.image"),
        *("feature.copy_target", "feature.magic", "feature.env.load_from_process"),
    }


@pytest.mark.parametrize(
    ("image", "is_taken"),
    [
        ("registry:5000/mirrord", False),
        ("mirrord@sha256:00", False),
        ({"registry": "ghcr.io/x/mirrord", "tag": "1"}, False),
        ("ghcr.io/mirrord/python:3.12", True),
        ({"registry": "r/mirrord-python"}, True),
    ],
)
def test_the_image_of_its_agent_is_none_for_ours(image: object, is_taken: bool) -> None:
    found = content({"agent": {"image": image}})
    assert (found.file.agent.image is not None, found.aside == ()) == (is_taken, is_taken)


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        ({"accept_invalid_certificates": True}, "'accept_invalid_certificates' is not there yet", "kubeconfig"),
        ({"use_proxy": False}, "'use_proxy' is not there yet", "HTTPS_PROXY"),
        ({"feature": {"copy_target": True}}, "'feature.copy_target' is not there yet", "steal"),
        ({"feature": {"copy_target": {"scale_down": False}}}, "'feature.copy_target' is not there yet", "steal"),
        ({"feature": {"fs": {"not_found": ["/x"]}}}, "'feature.fs.not_found' is", "override"),
        ({"target": {"rollout": "x"}}, "'target.rollout' is not there yet", "config.md"),
        ({"target": {"path": {"stateful_set": "x"}}}, "'target.path.stateful_set' is not there yet", "config.md"),
    ],
)
def test_what_would_be_another_session_is_refused(value: Json, message: str, hint: str) -> None:
    error = refusal(value)
    assert message in error.message
    assert hint in error.hint


def test_all_that_is_missing_is_named_at_once() -> None:
    error = refusal(
        {"kubeconfig": "x", "telemetry": True, "agent": {"labels": {}}, "feature": {"split_queues": {"a": 1}}}
    )
    assert "'kubeconfig' is not there yet in inpod. Nor are 'agent.labels', 'feature.split_queues'." in error.message
    assert error.hint.startswith("kubeconfig: Set the variable KUBECONFIG. Remove the others")
    assert error.shown.splitlines()[0].strip().startswith('{"kubeconfig"')


def test_a_mistake_comes_before_what_is_missing() -> None:
    assert "no key 'feature.fs.mod'" in refusal({"kubeconfig": "x", "feature": {"fs": {"mod": 1}}}).message


def test_null_says_nothing() -> None:
    value: Json = {
        "target": None,
        "connect_tcp": None,
        "agent": None,
        "feature": {"env": None, "network": {"dns": None}},
    }
    assert content(value) == Content()
    assert "no key 'featrue'" in refusal({"featrue": None}).message


def test_the_network_as_a_whole() -> None:
    assert chosen({"feature": {"network": True}}) == Settings()
    assert chosen({"feature": {"network": False}}) == Settings(
        incoming="off", way=Way(tcp=False, udp=False, names=False)
    )


def test_lists_of_one_may_be_bare() -> None:
    bare: Json = {"skip_extra_build_tools": "bob", "feature": {"network": {"outgoing": {"filter": {"local": ":53"}}}}}
    long: Json = {
        "skip_extra_build_tools": ["bob"],
        "feature": {"network": {"outgoing": {"filter": {"local": [":53"]}}}},
    }
    assert chosen(bare) == chosen(long) != Settings()
    dns: Json = {"feature": {"network": {"dns": {"filter": {"remote": "db.prod"}}}}}
    assert chosen(dns).way.names_remote == ("db.prod",)


@pytest.mark.parametrize(
    ("target", "path", "namespace"),
    [
        ({"path": {"pod": "a"}, "namespace": "n"}, "pod/a", "n"),
        ({"path": {"deployment": "a", "container": "c"}}, "deployment/a/container/c", None),
        ({"deployment": "a", "container": "c", "namespace": "n"}, "deployment/a/container/c", "n"),
        ({"namespace": "n"}, None, "n"),
    ],
)
def test_forms_of_a_target(target: Json, path: str | None, namespace: str | None) -> None:
    found = chosen({"target": target})
    assert (found.target, found.namespace) == (path, namespace)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"path": {"pod": "a", "deployment": "b"}}, "target.path names a pod and a deployment."),
        ({"container": "c"}, "target names a container of nothing."),
        ({"path": "pod/a", "pod": "a"}, "named twice"),
    ],
)
def test_a_target_is_one(target: Json, message: str) -> None:
    assert message in refusal({"target": target}).message


def test_variables() -> None:
    env: Json = {"exclude": "A", "override": {"B": "1"}, "mapping": {"C$": "2"}, "unset": "d;E"}
    assert chosen({"feature": {"env": env}}).env == EnvFilter(
        exclude="A", mapping=(("C$", "2"),), overrides={"B": "1"}, unset=frozenset({"D", "E"})
    )
    options = Options(env_include="X")
    assert settings(options, content({"feature": {"env": env}}).file).env == EnvFilter(
        include="X", mapping=(("C$", "2"),), overrides={"B": "1"}, unset=frozenset({"D", "E"})
    )


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"override": {"A=B": "x"}}, "feature.env.override: 'A=B' cannot be a variable's name."),
        ({"override": {"PORT": 80}}, "feature.env.override[...] must be a string, not a number"),
        ({"override": {"A": "x\0y"}}, "feature.env.override: the value of 'A' has a NUL in it."),
        ({"mapping": {"A": "x\0y"}}, "feature.env.mapping: the value of 'A' has a NUL in it."),
        ({"mapping": {"^[[:alpha:]]+$": "x"}}, "feature.env.mapping: Possible nested set."),
        ({"mapping": {"(": "x"}}, "feature.env.mapping: missing )"),
        ({"overide": {}}, "there is no key 'feature.env.overide'."),
    ],
)
def test_a_mistake_in_variables_is_named(env: Json, message: str) -> None:
    assert message in refusal({"feature": {"env": env}}).message


def test_no_key_is_there_and_not_there() -> None:
    def full(places: Mapping[str, Iterable[str]]) -> set[str]:
        return {f"{place}.{key}" if place else key for place, names in places.items() for key in names}

    ours = {key for there in keys().values() for key in there}
    assert not ours & (full(ASIDE) | full(NOT_YET))
    assert set(INSTEAD) <= full(NOT_YET)
