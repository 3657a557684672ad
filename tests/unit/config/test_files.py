"""`feature.fs`: folders and files that are asked to be the pod's or this machine's."""

import pytest

from inpod.config.files import Files, Trees, file_trees
from inpod.errors import UserError


@pytest.mark.parametrize(
    ("pattern", "tree"),
    [
        ("/etc/app", "/etc/app"),
        ("/etc/app/", "/etc/app"),
        ("/etc/app/.*", "/etc/app"),
        ("^/etc/app/.+$", "/etc/app"),
        (r"^/srv/a\.yaml$", "/srv/a.yaml"),
        ("/srv/a.yaml", "/srv/a.yaml"),
        (r"/var/my\-app/../x-1/.*", "/var/x-1"),
    ],
)
def test_patterns_of_a_folder_or_file(pattern: str, tree: str) -> None:
    assert file_trees(Files(read_only=pattern, local=["/a", pattern])) == Trees((tree,), ("/a", tree))


@pytest.mark.parametrize(
    "pattern",
    [
        r".+\.js",
        "etc/app",
        "/",
        "/.*",
        "",
        "/etc/app.*",
        "/etc/(a|b)",
        "/etc/[ab]",
        "/a\n",
        "/etc/a?",
        "/a/.*/b",
        "/a/.+/b",
        "/a+",
    ],
)
def test_other_patterns_are_refused_with_their_place(pattern: str) -> None:
    with pytest.raises(UserError) as caught:
        file_trees(Files(local=["/a", pattern]))
    assert caught.value.message.startswith(f"feature.fs.local[1]: '{pattern}' is not there yet")
    with pytest.raises(UserError, match=r"^feature\.fs\.read_only: "):
        file_trees(Files(read_only=pattern))


def test_a_bare_mode_names_none() -> None:
    assert file_trees("read") == file_trees(True) == file_trees(Files()) == Trees()
