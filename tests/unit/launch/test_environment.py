"""Which variables the program gets, and whose values."""

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
    found = program_environment(REMOTE, LOCAL, include="APP_*;D?")
    assert found["APP_MODE"] == "pod"
    assert found["DB"] == "pod"
    assert "HOSTNAME" not in found
    assert program_environment(REMOTE, LOCAL, include="")["APP_MODE"] == "here"


def test_all_but_what_is_excluded() -> None:
    found = program_environment(REMOTE, LOCAL, exclude="APP_M*; DB")
    assert found["APP_MODE"] == "here"
    assert found["APP_KEY"] == "k"
    assert "DB" not in found


def test_what_belongs_to_the_machine_is_not_taken_even_when_included() -> None:
    assert program_environment({"PATH": "/pod", "LD_PRELOAD": "x", "INPOD_SESSION": "y"}, {}, include="*") == {}
    assert program_environment({"BUNDLE_PATH": "/pod", "RUBYLIB": "/pod"}, {}) == {}


def test_an_outer_session_is_not_ours() -> None:
    assert program_environment({}, {"INPOD_SESSION": "/outer"}) == {}


def test_only_stars_and_question_marks_are_special() -> None:
    remote = {"A.B": "1", "AxB": "2", "[A]": "3", "A": "4", "a": "5"}
    assert program_environment(remote, {}, include="A.B") == {"A.B": "1"}
    assert program_environment(remote, {}, include="[A]") == {"[A]": "3"}
    assert program_environment(remote, {}, include="A") == {"A": "4"}
    assert program_environment(remote, {}, include="A?B") == {"A.B": "1", "AxB": "2"}
