"""What of the pod's files the program sees otherwise."""

from pathlib import Path

import pytest

from inpod.protocol.listing import Entry
from inpod.session.files.replica import Replica
from inpod.session.files.views import HOSTS, NSSWITCH, Views, name_services


@pytest.mark.parametrize(
    ("own", "seen"),
    [
        (
            b"passwd: files sss\nhosts: files resolve [!UNAVAIL=return] dns\ngroup:\tfiles\n",
            b"passwd: files sss\ngroup:\tfiles\n",
        ),
        (b"# hosts: x\n hosts :files\npasswd: db", b"# hosts: x\npasswd: db\n"),
        (b"", b""),
    ],
)
def test_only_names_of_hosts_are_others(own: bytes, seen: bytes) -> None:
    assert name_services(own) == seen + b"hosts: files dns\n"


def entry(path: str, content: bytes) -> tuple[Entry, bytes]:
    return Entry(path, "file", 0o644, len(content), content_bytes=len(content)), content


def test_what_is_made_stays_when_the_pods_folder_is_listed(tmp_path: Path) -> None:
    root = tmp_path / "replica"
    root.mkdir()
    replica, views = Replica(root), Views(lambda pods: pods.upper())
    replica.put(views.made)
    folder = (Entry("/etc", "dir", 0o755, is_listed=True), None)
    replica.put(
        views.of([folder, entry(NSSWITCH, b"hosts: pod\n"), entry(HOSTS, b"1 a\n"), entry("/etc/hostname", b"web")])
    )
    assert (root / "etc/nsswitch.conf").read_text().endswith("hosts: files dns\n")
    assert replica.is_plain_and_complete(NSSWITCH.encode())
    assert ((root / "etc/hosts").read_text(), (root / "etc/hostname").read_text()) == ("1 A\n", "web")
    replica.close()


def test_without_a_filter_the_hosts_file_is_the_pods() -> None:
    found = [entry(HOSTS, b"1 a\n"), (Entry(HOSTS, "file", 0o644, 4), None)]
    assert Views().of(found) == found
    assert Views(lambda pods: pods + b"2 b\n").of(found) == [entry(HOSTS, b"1 a\n2 b\n"), found[1]]
