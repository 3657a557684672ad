from pathlib import Path

from inpod.targets.kube import ephemeral_place, job
from inpod.targets.kube.rights import RIGHTS, role_yaml

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "rbac.md"


def test_page_has_the_role_and_each_right() -> None:
    text = PAGE.read_text()
    for is_ephemeral in (False, True):
        assert f"```yaml\n{role_yaml(is_ephemeral=is_ephemeral)}```" in text
    for right in RIGHTS:
        assert f"| {right.verb} | {right.resource} | {right.why}" in text
    for capability in {*job.CAPABILITIES, *ephemeral_place.CAPABILITIES}:
        assert f"| {capability} |" in text


def test_no_right_is_listed_twice() -> None:
    assert len({(right.verb, right.resource) for right in RIGHTS}) == len(RIGHTS)
