"""The demo's steps: at each, what the remote end saw is printed and checked."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inpod.demo.stage import InPlace, Lines, Pod, Silence, in_its_place, running_pod, running_program

NO_STEALING = "Stealing is left out: this kernel gives an ordinary user no means for it. Run the demo as root."

WIDTH = 13


@dataclass(frozen=True, slots=True)
class Claim:
    """Attributes:
    what: For people, when it does not hold.
    found, expected: Equal when it holds.
    """

    what: str
    found: object
    expected: object


class Steps:
    """Prints the outcome of each step, and counts."""

    def __init__(self, put: Callable[[str], object]) -> None:
        self._put = put
        self.held = self.failed = 0

    def say(self, text: str = "") -> None:
        """Print a line."""
        self._put(text + "\n")

    def check(self, name: str, told: str, and_so: str, claims: Sequence[Claim]) -> None:
        """Say what the remote end saw, and what follows; or what was not as it should be."""
        wrong = [claim for claim in claims if claim.found != claim.expected]
        self.say(f"  {'FAIL' if wrong else 'ok  '}  {name:{WIDTH}}{told}{'' if wrong else and_so}")
        for claim in wrong:
            self.say(f"        {'':{WIDTH}}{claim.what}: {claim.found!r}, not {claim.expected!r}")
        if wrong:
            self.failed += 1
        else:
            self.held += 1


def show(put: Callable[[str], object], in_place: InPlace = in_its_place) -> bool:
    """Run the demo; return whether all held. What it prints goes to `put`.

    Raises:
        UserError: There can be no pod here.
    """
    steps = Steps(put)
    with running_pod() as pod:
        name = pod.ask("facts")["hostname"]
        steps.say(
            f"A pod on this machine: process {pod.pid}, host '{name}', with a network, files and variables of its own."
        )
        steps.say(f"\nA program of this machine in its place:  inpod exec -t pid/{pod.pid} -- python program.py")
        with running_program(pod, in_place) as program:
            look_around(pod, program, steps)
            mirror(pod, program, steps)
        steps.say(f"\nWith its traffic:  inpod exec -t pid/{pod.pid} --steal -- python program.py")
        with running_program(pod, in_place, "--steal") as program:
            if os.geteuid() != 0 and program.has_no_means():
                steps.say(NO_STEALING)
            else:
                steal(pod, program, steps)
        steps.say("\nAfter the program has ended:")
        afterwards(pod, steps)
    total = steps.held + steps.failed
    steps.say(f"\n{steps.held} of {total} steps held. The pod is gone; nothing stays on this machine.")
    return steps.failed == 0


def look_around(pod: Pod, program: Lines, steps: Steps) -> None:
    """What the program has is what the pod has."""
    facts = pod.ask("facts")
    for key, told, and_so in (
        ("environment", f"the pod has POD_MENU='{facts['environment']}'", ", and so has the program"),
        ("file", f"the pod's own /srv/menu.txt says '{facts['file']}'", ", and so it says to the program"),
        ("hostname", f"the pod's host name is '{facts['hostname']}'", ", and so says /etc/hostname to the program"),
    ):
        steps.check(key, told, and_so, [Claim("the program has", heard(program, key), facts[key])])
    answer = heard(program, "call")
    calls = pod.seen("orders")
    told = f"the pod's service 'orders', which only the pod can reach, was asked {_requests(calls)}"
    steps.check(
        "outgoing",
        told,
        ", by the program",
        [
            Claim("requests that it got", [path for path, _ in calls], ["/today"]),
            Claim("they came from", [caller.partition(":")[0] for _, caller in calls], ["10.77.0.2"]),
            Claim("the program was answered", answer.partition(" ")[0] + answer[-6:], "orders/today"),
        ],
    )


def mirror(pod: Pod, program: Lines, steps: Steps) -> None:
    """The pod answers; the program sees a copy."""
    listening = heard(program, "listening")
    before = len(pod.seen("web"))
    answer = pod.ask("get /soup")
    served = pod.seen("web")[before:]
    copy = heard_all(program, "path", "caller")
    steps.check(
        "mirrored",
        f"a client at {answer['client']} was answered '{answer['body']}'",
        "; the program saw a copy",
        [
            Claim("the program listens, as it sees it, on", listening, "0.0.0.0:8080"),
            Claim("the pod itself served", served, [["/soup", answer["client"]]]),
            Claim("the client was answered by", _answerer(answer), "the pod"),
            Claim("the program saw", copy, ("/soup", answer["client"])),
        ],
    )


def steal(pod: Pod, program: Lines, steps: Steps) -> None:
    """The program answers; the pod sees nothing."""
    heard(program, "listening")
    before = len(pod.seen("web"))
    answer = pod.ask("get /salad")
    served = pod.seen("web")[before:]
    steps.check(
        "stolen",
        f"a client at {answer['client']} was answered '{answer['body']}'",
        "; the pod saw nothing of it",
        [
            Claim("the client was answered by", _answerer(answer), "the local program"),
            Claim("the pod itself served", served, []),
            Claim("the program saw", heard_all(program, "path", "caller"), ("/salad", answer["client"])),
        ],
    )


def afterwards(pod: Pod, steps: Steps) -> None:
    """All is as before."""
    before = len(pod.seen("web"))
    answer = pod.ask("get /tea")
    served = pod.seen("web")[before:]
    steps.check(
        "undone",
        f"a client at {answer['client']} was answered '{answer['body']}'",
        "",
        [
            Claim("the client was answered by", _answerer(answer), "the pod"),
            Claim("the pod itself served", served, [["/tea", answer["client"]]]),
        ],
    )


def heard(program: Lines, key: str) -> str:
    """Return what the program says about `key`."""
    return heard_all(program, key)[0]


def heard_all(program: Lines, *keys: str) -> tuple[str, ...]:
    """Return what the program says about `keys` in one line; why not, where it does not."""
    try:
        found = program.expect(keys[0])
        return tuple(found[key] for key in keys)
    except Silence as error:
        return (str(error),)


def _requests(calls: Sequence[Sequence[str]]) -> str:
    return " and ".join(f"for {path} from {caller}" for path, caller in calls) or "for nothing"


def _answerer(answer: dict[str, object]) -> str:
    body = str(answer["body"])
    return next((who for who in ("the local program", "the pod") if body.startswith(who)), body)
