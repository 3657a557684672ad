"""How programs resolve names."""

import json

import pytest

from inpod.protocol.layer import Addr, Name, Resolve
from tests.fakes.pod import Pod
from tests.layer.conftest import Stage
from tests.layer.test_files import lines


@pytest.fixture
def pod() -> Pod:
    return Pod(
        names={
            "db": ["10.9.9.9", "fd00::9", "10.9.9.10"],
            "four": ["10.4.4.4"],
            "silent": -3,
            "many": [f"10.0.{n // 250}.{n % 250 + 1}" for n in range(250)],
        }
    )


def test_every_call_of_libc_resolves_in_the_pod(stage: Stage) -> None:
    assert lines(stage.output("hosts", "db")) == {
        "both": "10.9.9.9:80 [fd00::9]:80 10.9.9.10:80".replace("[", "").replace("]", ""),
        "service-name": "10.9.9.9:443 fd00::9:443 10.9.9.10:443",
        "no-service": "10.9.9.9:0 fd00::9:0 10.9.9.10:0",
        "bad-service": "EAI_SERVICE",
        "v4": "10.9.9.9:80 10.9.9.10:80",
        "v6": "fd00::9:80",
        "v6-mapped": "fd00::9:80",
        "v6-mapped-all": "::ffff:10.9.9.9:80 fd00::9:80 ::ffff:10.9.9.10:80",
        "canonical": "10.9.9.9:80(db.svc) fd00::9:80 10.9.9.10:80",
        "numeric-only": "EAI_NONAME",
        "passive": "0.0.0.0:80",
        "number": "10.4.4.4:80",
        "localhost": "127.0.0.1:80",
        "gethostbyname": "db.svc 10.9.9.9 10.9.9.10",
        "gethostbyname2-v6": "db.svc fd00::9",
        "gethostbyname_r": "0 0",
        "gethostbyname_r-entry": "db.svc 10.9.9.9 10.9.9.10",
        "gethostbyname2_r-entry": "db.svc fd00::9",
        "gethostbyname_r-small": "ERANGE",
    }
    assert {request.name for request in stage.session.asked(Resolve)} == {"db"}


def test_name_with_one_family_only(stage: Stage) -> None:
    found = lines(stage.output("hosts", "four"))
    assert found["v6"] == "EAI_NODATA"
    assert found["v6-mapped"] == "::ffff:10.4.4.4:80"
    assert found["gethostbyname2-v6"] == "h_errno=4"


def test_name_that_is_not_there(stage: Stage) -> None:
    found = lines(stage.output("hosts", "none"))
    assert found["both"] == found["v4"] == "EAI_NONAME"
    assert found["gethostbyname"] == "h_errno=1"
    assert found["gethostbyname_r"] == "ENOENT 1"


def test_servers_that_are_silent(stage: Stage) -> None:
    found = lines(stage.output("hosts", "silent"))
    assert found["both"] == "EAI_AGAIN"
    assert found["gethostbyname"] == "h_errno=2"


@pytest.mark.parametrize("address", ["10.9.9.9", "fd00::9"])
def test_every_call_of_libc_finds_the_pods_name_of_an_address(stage: Stage, address: str) -> None:
    assert lines(stage.output("reverse", address)) == {
        "both": "db.svc 443",
        "service-name": "db.svc https",
        "service-only": " https",
        "numeric": f"{address} 443",
        "required": "db.svc 443",
        "small": "EAI_OVERFLOW",
        "gethostbyaddr": f"db.svc {address}",
        "gethostbyaddr_r": "0 0 db.svc",
        "gethostbyaddr_r-small": "ERANGE -",
    }
    assert {request.ip for request in stage.session.asked(Name)} == {Addr.of(address, 0).ip}


def test_address_without_a_name(stage: Stage) -> None:
    found = lines(stage.output("reverse", "10.1.1.1"))
    assert found["both"] == found["numeric"] == "10.1.1.1 443"
    assert found["service-name"] == "10.1.1.1 https"
    assert found["required"] == "EAI_NONAME"
    assert found["gethostbyaddr"] == "h_errno=1"
    assert found["gethostbyaddr_r"] == "1 1 -"
    stage.pod.unnamed = -3
    found = lines(stage.output("reverse", "10.1.1.1"))
    assert found["both"] == found["required"] == "EAI_AGAIN"
    assert found["gethostbyaddr"] == "h_errno=2"


def test_loopback_has_its_name_of_here(stage: Stage) -> None:
    stage.output("reverse", "127.0.0.1")
    assert stage.session.asked(Name) == []


def test_name_of_this_machine_stays_here(stage: Stage) -> None:
    script = "import socket; socket.getaddrinfo(socket.gethostname(), None)"
    stage.run("python3", "-c", script)
    assert stage.session.asked(Resolve) == []


def test_many_addresses(stage: Stage) -> None:
    script = "import socket,json; print(json.dumps([a[4][0] for a in socket.getaddrinfo('many', 80, type=1)]))"
    assert json.loads(stage.output("python3", "-c", script)) == stage.pod.names["many"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("getent", "ahostsv4", "four"), "10.4.4.4"),
        (("python3", "-c", "import socket; print(socket.gethostbyname('four'))"), "10.4.4.4"),
        (("node", "-e", "require('dns').lookup('four', (e, a) => console.log(e || a))"), "10.4.4.4"),
        (("perl", "-e", "print join '.', unpack 'C4', gethostbyname 'four'"), "10.4.4.4"),
    ],
    ids=["getent", "python", "node", "perl"],
)
def test_runtime_resolves_in_the_pod(stage: Stage, command: tuple[str, ...], expected: str) -> None:
    assert expected in stage.output(*command)
