import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpod.errors import ExitCode, UserError
from inpod.targets.spec import DeploymentTarget, NetnsTarget, PodTarget, ProcessTarget, TargetSpec, parse_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("pod/api-7d9f8", PodTarget("api-7d9f8")),
        ("pod/api/container/web", PodTarget("api", "web")),
        ("deployment/api.v2", DeploymentTarget("api.v2")),
        ("deployment/api/container/web", DeploymentTarget("api", "web")),
        ("pid/4711", ProcessTarget(4711)),
        ("netns/blue", NetnsTarget("blue")),
        ("netns/blue/pid/12", NetnsTarget("blue", 12)),
        ("netns//run/netns/blue/pid/12", NetnsTarget("/run/netns/blue", 12)),
        ("netns//proc/12/ns/net", NetnsTarget("/proc/12/ns/net")),
    ],
)
def test_each_form_is_understood_and_written_the_same(text: str, target: TargetSpec) -> None:
    # By their text: named tuples of two kinds may be equal.
    assert repr(parse_target(text)) == repr(target)
    assert str(target) == text


def test_a_deployment_has_a_short_word_too() -> None:
    assert parse_target("deploy/api/container/web") == parse_target("deployment/api/container/web")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Deploy/api", "--target deployment/api?"),
        ("deployments/api/container/web", "--target deployment/api/container/web?"),
        ("Deployment/api", "--target deployment/api?"),
        ("po/api", "--target pod/api?"),
        ("pods/api", "--target pod/api?"),
        ("api", "--target deployment/api or pod/api."),
        ("4711", "--target pid/4711?"),
        ("pod/api/web", "--target pod/api/container/web?"),
        ("pod/api/c/web", "--target pod/api/container/web?"),
        ("statefulset/db", "--target pod/NAME"),
        ("svc/db", "--target pod/NAME"),
        ("label/app=web", "--target pod/NAME"),
        ("pid/abc", "--target pid/4711"),
        ("pid/0", "--target pid/4711"),
        ("pod/Api", "inpod ls"),
        ("pod/", "A target is pod/NAME"),
        ("pod", "A target is pod/NAME"),
        ("", "A target is pod/NAME"),
        ("pod/a/container", "A target is pod/NAME"),
        ("pod/a/container/b/c", "A target is pod/NAME"),
        ("netns/", "A target is pod/NAME"),
        ("netns/a/pid/", "--target pid/4711"),
        ("what/ever", "A target is pod/NAME"),
    ],
)
def test_wrong_form_is_answered_with_the_right_one(text: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_target(text)
    assert hint in caught.value.hint
    assert caught.value.exit_code == ExitCode.USAGE


def test_kind_that_is_not_supported_yet_says_so() -> None:
    with pytest.raises(UserError, match="A statefulset cannot be a target yet"):
        parse_target("sts/db")
    with pytest.raises(UserError, match="A rollout cannot be a target yet"):
        parse_target("rollouts.argoproj.io/api")
    with pytest.raises(UserError, match="'targetless' is not there yet"):
        parse_target("targetless")


@given(st.one_of(st.text(max_size=40), st.from_regex(r"(pod|deployment|pid|netns)/[a-z0-9/]{0,30}", fullmatch=True)))
def test_any_text_is_a_target_or_a_user_error(text: str) -> None:
    target: TargetSpec | None = None
    with contextlib.suppress(UserError):
        target = parse_target(text)
    assert target is None or parse_target(str(target)) == target
