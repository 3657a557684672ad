"""How programs resolve names."""

import errno
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from inpod.protocol.layer import Addr, Name, Question, Resolve
from tests.fakes.pod import Pod
from tests.layer.conftest import Stage
from tests.layer.test_files import lines
from tests.packages import need


@pytest.fixture
def pod() -> Pod:
    return Pod(
        names={
            "db": ["10.9.9.9", "fd00::9", "10.9.9.10"],
            "four": ["10.4.4.4"],
            "silent": -3,
            "many": [f"10.0.{n // 250}.{n % 250 + 1}" for n in range(250)],
        },
        texts={
            "db": [b"of the pod"],
            "db.prod.svc": [b"of prod"],
            "many": [b"x" * 255] * 200,
            "empty": [],
            "broken": 2,
            "refused": 5,
            "silent": OSError(errno.ETIMEDOUT, ""),
        },
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


PLAIN = ["res_query", "res_search", "res_querydomain"]
OF_STATE = ["res_nquery", "res_nsearch", "res_nquerydomain"]
RESOLVER = [*PLAIN, *OF_STATE, "res_send", "res_nsend"]


def asked_by_resolver(stage: Stage, *arguments: str) -> dict[str, str]:
    """Return what each function of resolver(3) says; both names of each must say the same."""
    found = lines(stage.output("questions", *arguments))
    assert {name: found.pop(f"__{name}") for name in RESOLVER} == found
    return found


def test_questions_of_libc_are_answered_by_the_pods_servers(stage: Stage) -> None:
    assert asked_by_resolver(stage, "db") == dict.fromkeys(RESOLVER, "43 of the pod")
    asked = stage.session.asked(Question)
    # In the order of the program: query, search, querydomain, send.
    assert [question.searches for question in asked] == [False, True, False, False] * 4
    assert len({question.message[2:] for question in asked}) == 1
    # By its dot it is whole.
    stage.output("questions", "db.")
    assert not any(question.searches for question in stage.session.asked(Question)[16:])


def test_name_in_a_domain(stage: Stage) -> None:
    assert asked_by_resolver(stage, "db.prod.svc") == dict.fromkeys(RESOLVER, "49 of prod")


def test_long_answer_is_whole_and_cut_to_the_programs_room(stage: Stage) -> None:
    whole = 12 + 6 + 4 + 200 * (12 + 256)
    assert asked_by_resolver(stage, "many") == dict.fromkeys(RESOLVER, f"{whole} {'x' * 255}")
    assert asked_by_resolver(stage, "many", "12") == dict.fromkeys(RESOLVER, f"{whole} rcode=0")


@pytest.mark.parametrize(
    ("name", "h_errno", "sent"),
    [("none", 1, "22 rcode=3"), ("broken", 2, "24 rcode=2"), ("refused", 3, "25 rcode=5"), ("empty", 4, "23 rcode=0")],
)
def test_questions_without_an_answer_fail_as_in_libc(stage: Stage, name: str, h_errno: int, sent: str) -> None:
    failed, failed_too = f"failed h_errno={h_errno}", f"failed h_errno={h_errno} state={h_errno}"
    found = asked_by_resolver(stage, name)
    assert {found[each].strip() for each in PLAIN} == {failed}
    assert {found[each].strip() for each in OF_STATE} == {failed_too}
    assert found["res_send"] == found["res_nsend"] == sent


def test_questions_that_nobody_answers(stage: Stage) -> None:
    found = asked_by_resolver(stage, "silent")
    assert found["res_query"].strip() == "failed h_errno=2"
    assert found["res_nsearch"].strip() == "failed h_errno=2 state=2"
    assert found["res_send"] == "failed h_errno=0 ETIMEDOUT"


@pytest.fixture
def server_of_this_machine() -> Iterator[int]:
    """The port of a name server on 127.0.0.1, by UDP, where every name has the address 10.4.4.4."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while (received := server.recvfrom(512))[0]:
                message, sender = received
                head = message[:2] + bytes.fromhex("8180 0001 0001 0000 0000")
                record = bytes.fromhex("c00c 0001 0001 00000005 0004 0a040404")
                server.sendto(head + message[12:] + record, sender)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.sendto(b"", server.getsockname())
        thread.join()


@pytest.mark.parametrize("session", ["alive", "gone"])
def test_program_linked_long_ago_asks_for_names_of_this_machine(
    stage: Stage, server_of_this_machine: int, session: str
) -> None:
    """Its functions have versions that nobody gets who is linked today: libc's own must be found all the same."""
    environment = {"INPOD_SESSION": "/none"} if session == "gone" else None
    out = stage.output("old_versions", str(server_of_this_machine), "localhost", environment=environment)
    assert lines(out) == {name.removeprefix("res_"): "10.4.4.4" for name in RESOLVER}
    assert stage.session.asked(Question) == []


def test_questions_of_php(stage: Stage) -> None:
    need("php")
    script = 'foreach (["db", "none"] as $name) echo json_encode(array_column(dns_get_record($name, DNS_TXT), "txt")), "\\n";'
    assert stage.output("php", "-r", script) == '["of the pod"]\n[]\n'
    assert [question.searches for question in stage.session.asked(Question)] == [True, True]
