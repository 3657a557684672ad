"""contracts/rule-cases.json, from the session's side: what it writes is what native/rules decides by."""

import json
from pathlib import Path
from typing import Any

import pytest

from inpod.config.files import Trees
from inpod.config.incoming import Ports
from inpod.config.outgoing import Way
from inpod.session.plan import Plan
from inpod.session.rules import rules_text

CONTRACT: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "contracts" / "rule-cases.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("session", CONTRACT["sessions"], ids=lambda session: str(session["name"]))
def test_session_writes_the_rules_of_the_contract(session: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    facts = session["plan"]
    for name in ("home", "tmpdir"):
        monkeypatch.delenv(name.upper(), raising=False)
        if facts[name] is not None:
            monkeypatch.setenv(name.upper(), facts[name])
    plan = Plan(
        argv=("true",),
        executable="/bin/true",
        native=Path("/native"),
        follows=False,
        mode="mirror" if facts["incoming"] == "on" else "off",
        files=facts["files"],
        trees=Trees(tuple(facts.get("trees_pod", ())), tuple(facts.get("trees_here", ()))),
        local_ports=tuple(facts["local_ports"]),
        local_trees=tuple(facts["local_trees"]),
        skipped=tuple(facts.get("skipped", ())),
        way=Way(**facts.get("way", {})),
        ports=Ports(
            only=tuple(facts.get("only_ports", ())),
            listen=tuple((asked, had) for asked, had in facts.get("listen_ports", ())),
            ignores_localhost=facts.get("ignore_localhost", False),
        ),
    )
    text = rules_text(plan, Path(facts["folder"]), tuple(facts["mounts"]), files_work=True)
    first, *lines = text.decode().splitlines()
    assert first == session["rules"][0]
    assert sorted(lines) == sorted(session["rules"][1:])
