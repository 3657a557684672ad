"""Which variables the program gets, and whose values."""

import msgspec

from inpod.config.env import Env, EnvFilter, as_filter
from inpod.launch.environment import program_environment

REMOTE = {"PATH": "/pod", "HOME": "/pod", "APP_MODE": "pod", "APP_KEY": "k", "DB": "pod", "HOSTNAME": "web-0"}
LOCAL = {"PATH": "/here", "HOME": "/here", "APP_MODE": "here", "MINE": "here"}


def test_the_target_comes_before_this_machine() -> None:
    found = program_environment(REMOTE, LOCAL)
    assert found == {
        "PATH": "/here",
        "HOME": "/here",
        "APP_MODE": "pod",
        "APP_KEY": "k",
        "DB": "pod",
        "HOSTNAME": "web-0",
        "MINE": "here",
    }


def test_only_what_is_included() -> None:
    found = program_environment(REMOTE, LOCAL, EnvFilter(include="APP_*;D?"))
    assert found["APP_MODE"] == "pod"
    assert found["DB"] == "pod"
    assert "HOSTNAME" not in found
    assert program_environment(REMOTE, LOCAL, EnvFilter(include=""))["APP_MODE"] == "here"


def test_all_but_what_is_excluded() -> None:
    found = program_environment(REMOTE, LOCAL, EnvFilter(exclude="APP_M*; DB"))
    assert found["APP_MODE"] == "here"
    assert found["APP_KEY"] == "k"
    assert "DB" not in found


def test_what_belongs_to_the_machine_is_taken_only_when_it_is_named() -> None:
    tools = {"PYTHONPATH": "/pod", "NODE_OPTIONS": "-x", "LD_PRELOAD": "x", "MIRRORD_X": "y"}
    assert program_environment(tools, {}, EnvFilter(include="PYTHON*;NODE_OPTIONS;LD_PRELOAD;MIRRORD_X")) == {
        "NODE_OPTIONS": "-x"
    }
    assert (
        program_environment({"PATH": "/pod", "LD_PRELOAD": "x", "INPOD_SESSION": "y"}, {}, EnvFilter(include="*")) == {}
    )
    assert program_environment({"BUNDLE_PATH": "/pod", "RUBYLIB": "/pod"}, {}) == {}


def test_an_outer_session_is_not_ours() -> None:
    assert program_environment({}, {"INPOD_SESSION": "/outer"}) == {}


def test_only_stars_and_question_marks_are_special() -> None:
    remote = {"A.B": "1", "AxB": "2", "[A]": "3", "A": "4", "a": "5"}
    assert program_environment(remote, {}, EnvFilter(include="A.B")) == {"A.B": "1"}
    assert program_environment(remote, {}, EnvFilter(include="[A]")) == {"[A]": "3"}
    assert program_environment(remote, {}, EnvFilter(include="A")) == {"A": "4"}
    assert program_environment(remote, {}, EnvFilter(include="A?B")) == {"A.B": "1", "AxB": "2"}


def test_who_counts_before_whom() -> None:
    wanted = EnvFilter(
        exclude="DB",
        file={"APP_KEY": "file", "DB": "file", "T_TIMEOUT": "1"},
        mapping=((".+_TIMEOUT", "9"), ("MODE$", "mapped"), ("APP", "not the first")),
        overrides={"APP_KEY": "over", "NEW_TIMEOUT": "3"},
    )
    found = program_environment(REMOTE, LOCAL, wanted)
    assert found["DB"] == "file"
    assert found["APP_KEY"] == "over"
    assert found["APP_MODE"] == "mapped"
    assert found["T_TIMEOUT"] == "9"
    assert found["NEW_TIMEOUT"] == "3"
    assert found["MINE"] == "here"


def test_what_is_unset_is_nobodys() -> None:
    wanted = as_filter(as_env({"unset": ["aws_profile", "App_Mode"], "override": {"AWS_PROFILE": "x"}}))
    found = program_environment(REMOTE, {**LOCAL, "Aws_Profile": "y"}, wanted)
    assert not {name.upper() for name in found} & {"AWS_PROFILE", "APP_MODE"}
    assert found["APP_KEY"] == "k"


def as_env(content: object) -> Env:
    return msgspec.convert(content, Env)
