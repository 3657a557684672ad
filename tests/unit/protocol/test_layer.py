"""contracts/layer-messages.json, from the session's side; native/wire and native/rules test the layer's."""

import json
import mmap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpod.protocol.layer import (
    Addr,
    Bind,
    Connect,
    File,
    LayerProtocolError,
    Listen,
    Name,
    Question,
    Redirect,
    Request,
    Resolve,
    Resolved,
    Trace,
    Unix,
    Want,
    Warn,
    decode_request,
    encode_reply,
    encode_request,
)
from inpod.session import table
from inpod.session.table import Table

CONTRACT: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "contracts" / "layer-messages.json").read_text(encoding="utf-8")
)


def addr(value: dict[str, Any]) -> Addr:
    return Addr.of(value["host"], value["port"], value["family"])


def request(case: dict[str, Any]) -> Request:
    text = bytes.fromhex(case.get("text", ""))
    match case["is"]:
        case "Connect":
            return Connect(int(case["cookie"], 16), addr(case["to"]), case["is_undecided"], case["is_send"])
        case "Bind":
            return Bind(addr(case["wanted"]), case["reuse_port"], case["is_udp"])
        case "Listen":
            return Listen(addr(case["wanted"]), addr(case["real"]), case["is_local"], case["is_udp"])
        case "Resolve":
            return Resolve(case["family"], text.decode("utf-8", "surrogateescape"))
        case "File":
            return File(Want[case["want"]], text)
        case "Unix":
            return Unix(text)
        case "Question":
            return Question(case["searches"], text)
        case "Name":
            return Name(addr({"host": case["ip"], "port": 0, "family": 6}).ip)
        case "Trace":
            return Trace(case["listener"], case["errno"], text)
        case _:
            return Warn(case["why"], text)


@pytest.mark.parametrize("case", CONTRACT["requests"], ids=lambda case: str(case["name"]))
def test_request_is_the_bytes_of_the_contract(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["hex"])
    # By their text: named tuples of two kinds may be equal.
    assert repr(decode_request(data)) == repr(request(case))
    assert encode_request(request(case)) == data


@pytest.mark.parametrize("case", CONTRACT["replies"], ids=lambda case: str(case["name"]))
def test_reply_is_the_bytes_of_the_contract(case: dict[str, Any]) -> None:
    body: Redirect | Resolved | None = None
    if redirect := case.get("redirect"):
        body = Redirect(addr(redirect))
    if resolved := case.get("resolved"):
        ips = tuple(Addr.of(host, 0).ip for host in resolved["hosts"])
        body = Resolved(ips, resolved["canonical"])
    assert encode_reply(case["errno"], body) == bytes.fromhex(case["hex"])


@pytest.mark.parametrize("case", CONTRACT["requests"], ids=lambda case: str(case["name"]))
def test_request_cut_anywhere_is_refused(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["hex"])
    for length in range(len(data)):
        with pytest.raises(LayerProtocolError):
            decode_request(data[:length])


@given(st.binary(max_size=80))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    try:
        decode_request(data)
    except LayerProtocolError:
        return


def test_table_lies_where_the_contract_says(tmp_path: Path) -> None:
    contract = CONTRACT["table"]
    made = Table(tmp_path / "table")
    slot, port = contract["socket"], contract["port"]
    with (tmp_path / "table").open("r+b") as file, mmap.mmap(file.fileno(), 0) as words:
        assert len(words) == contract["bytes"]
        assert words[:8] == contract["magic"].encode()
        assert contract["probes"] == table.PROBES
        made.set_port(port["port"], peer=addr(port["peer"]), local=addr(port["local"]))
        expected = bytes.fromhex(port["hex"])
        # The generation is the session's to choose, as long as it is not 0.
        assert words[port["at"] : port["at"] + 40] == expected[:40]
        assert words[port["at"] + 40 : port["at"] + 44] != bytes(4)
        words[slot["at"] : slot["at"] + 64] = bytes.fromhex(slot["hex"])
        cookie = int(slot["cookie"], 16)
        assert made.addresses(cookie) == (addr(slot["local"]), addr(slot["peer"]))
        made.set_errno(cookie, 113)
        assert words[slot["at"] + 48 : slot["at"] + 52] == (113).to_bytes(4, "little")
    made.close()
