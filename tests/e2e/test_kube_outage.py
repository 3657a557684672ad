"""An API server that is away for a moment, or a way to it that loses what it carries: a start goes on."""

import asyncio
from pathlib import Path

import pytest

from inpod.errors import ExitCode, UserError
from tests.e2e.cluster import Namespace
from tests.e2e.gate import Gate, gate
from tests.e2e.kube import inpod_exec, make_target, run, wait_until_nothing_is_left
from tests.e2e.proxy import Fault, proxy
from tests.e2e.test_kube_target import greet, talking
from tests.processes import LIMIT_S

HELLO = ["python3", "-c", "import os; print(os.environ['GREETING'])"]

REFUSALS = 5
"""So many calls of one start that are made again after a moment find the server away for seconds."""


@pytest.mark.parametrize("fault", ["closed", "unanswered", "unavailable"])
@pytest.mark.parametrize("way", ["job", "ephemeral"])
def test_each_call_of_a_start_may_fail_once(targets: Namespace, tmp_path: Path, way: str, fault: Fault) -> None:
    seen: set[str] = set()

    def first(call: str) -> Fault:
        is_first = call not in seen
        seen.add(call)
        return fault if is_first else ""

    options = ["-e"] if way == "ephemeral" else []
    with proxy(targets.cluster, tmp_path) as between:
        between.fault = first
        with inpod_exec(targets, "deployment/api", options, HELLO, between.kubeconfig) as process:
            said, errors = process.communicate(timeout=LIMIT_S)
    assert said == "hello from the pod\n", errors
    assert process.returncode == 0
    assert "Asking again: The API server at " in errors
    harmed = {call.rpartition("/")[2] for call in between.harmed if "NAME/pods/NAME/" in call}
    assert harmed == ({"portforward", "ephemeralcontainers"} if way == "ephemeral" else {"portforward"})
    # Of all that were asked for, one is left: the others were none.
    wait_until_nothing_is_left(targets)


@pytest.mark.parametrize("way", ["job", "ephemeral"])
def test_agent_whose_first_word_is_lost_is_spoken_to_again(targets: Namespace, tmp_path: Path, way: str) -> None:
    """It has its code by then, and serves: what it needs is not sent again."""
    with proxy(targets.cluster, tmp_path) as between:
        between.fault = lambda call: "cut" if call.endswith("/portforward") and not between.harmed else ""
        target = make_target(targets, "pod/web", kubeconfig=between.kubeconfig, is_ephemeral=way == "ephemeral")

        async def story() -> None:
            link = await target.start_agent(lambda what: None)
            try:
                async with talking(link) as tunnel:
                    assert (await greet(tunnel)).hostname == "web"
            finally:
                await link.close()

        run(story())
        assert len(between.harmed) == 1
    wait_until_nothing_is_left(targets)


@pytest.mark.parametrize("step", ["Found ", "Job ", "Waiting for "])
def test_server_that_goes_away_and_comes_again_is_waited_for(targets: Namespace, tmp_path: Path, step: str) -> None:
    said: list[str] = []

    async def story(way: Gate) -> None:
        def report(what: str) -> None:
            is_first = not any(each.startswith(step) for each in said)
            said.append(what)
            if is_first and what.startswith(step):
                go_away(way)

        async with asyncio.timeout(LIMIT_S):
            starting = asyncio.ensure_future(
                make_target(targets, "pod/web", kubeconfig=way.kubeconfig).start_agent(report)
            )
            while way.refused < REFUSALS:
                await asyncio.wait([starting], timeout=0.1)
                assert not starting.done(), starting.result()
            way.is_refusing = False
            link = await starting
        assert len(targets.jobs()) == 1
        await link.close()

    with gate(targets.cluster, tmp_path) as way:
        run(story(way))
    # Said once, however many calls met it.
    assert len([what for what in said if what.startswith("Asking again: ")]) == 1
    wait_until_nothing_is_left(targets)


def test_server_that_stays_away_is_what_a_start_ends_with(targets: Namespace, tmp_path: Path) -> None:
    with gate(targets.cluster, tmp_path) as way:

        def report(what: str) -> None:
            if what.startswith("Job "):
                go_away(way)

        target = make_target(targets, "pod/web", kubeconfig=way.kubeconfig, startup_timeout_s=3)
        with pytest.raises(
            UserError, match=r"The API server at https://127\.0\.0\.1:[0-9]+ cannot be reached: "
        ) as caught:
            run(target.start_agent(report))
    assert caught.value.exit_code == ExitCode.CLUSTER_UNREACHABLE
    # Nobody could delete it: its lease ends it.
    (job,) = targets.jobs()
    targets.kubectl("delete", "job", job)
    wait_until_nothing_is_left(targets)


def go_away(way: Gate) -> None:
    """End what connects, as a server that is being started anew, and what is connected."""
    way.is_refusing = True
    way.cut()
