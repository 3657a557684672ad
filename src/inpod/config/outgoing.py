"""`feature.network.outgoing` and `feature.network.dns`: what leaves from the target."""

import ipaddress
import re
from typing import Annotated, NamedTuple

from msgspec import Meta

from inpod.config.section import Section
from inpod.errors import UserError, pointed

PLACE = "feature.network.outgoing.filter"

DNS_PLACE = "feature.network.dns.filter"

ANY = ("", "0.0.0.0", "0.0.0.0/0", "::")  # noqa: S104 # nobody listens here
"""Hosts that stand for all, as port 0 does."""

_NAME = re.compile(r"(?=.{1,253}$)[\w-]{1,63}(?:\.[\w-]{1,63})*", re.ASCII)

_ENTRY = re.compile(
    r"(?:(?P<protocol>tcp|udp)://)?(?:\[(?P<v6>[^]]*)\]|(?P<host>[^:\[\]]*))(?P<v6_bits>/\d+)?(?::(?P<port>\d+))?"
)


class Filter(Section, frozen=True):
    """Of the two lists one at most."""

    remote: Annotated[
        str | list[str] | None,
        Meta(description="Only these destinations are the target's: `[tcp://|udp://][NAME, IP or CIDR][:PORT]`."),
    ] = None
    local: Annotated[str | list[str] | None, Meta(description="All but these are.")] = None


class Outgoing(Section, frozen=True):
    """true: all leaves from the target; false: nothing does."""

    tcp: Annotated[bool, Meta(description="TCP connections; false: as `--no-tcp-outgoing`.")] = True
    udp: Annotated[bool, Meta(description="UDP; false: as `--no-udp-outgoing`.")] = True
    ignore_localhost: Annotated[bool, Meta(description="Loopback addresses are this machine's, not the target's.")] = (
        False
    )
    filter: Annotated[Filter, Meta(description="Which destinations.")] = Filter()
    unix_streams: Annotated[
        str | list[str] | None,
        Meta(
            description="Unix sockets (streams and SOCK_SEQPACKET) that are the target's: regular expressions, found anywhere in the path."
        ),
    ] = None


class NameFilter(Section, frozen=True):
    """Of the two lists one at most."""

    remote: Annotated[
        str | list[str] | None,
        Meta(description="Only these names are the target's: `NAME`, or `*.NAME` for all below it."),
    ] = None
    local: Annotated[str | list[str] | None, Meta(description="All but these are.")] = None


class Dns(Section, frozen=True):
    """true: names are the target's; false: this machine's."""

    enabled: Annotated[bool, Meta(description="false: as `--no-remote-dns`.")] = True
    filter: Annotated[NameFilter, Meta(description="Which names.")] = NameFilter()


class Way(NamedTuple):
    """What leaves from the target.

    Attributes:
        remote, local: Destinations as the session's rules have them: "tcp 10.0.0.0/8 443", "* name:db *"; `*` for any.
        unix_streams: Regular expressions of paths.
        names: Names are resolved by the target.
        names_remote, names_local: These only, or all but these: "db.prod.svc", "*.cluster.local".
    """

    tcp: bool = True
    udp: bool = True
    localhost: bool = True
    remote: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    unix_streams: tuple[str, ...] = ()
    names: bool = True
    names_remote: tuple[str, ...] = ()
    names_local: tuple[str, ...] = ()


def outgoing_way(outgoing: Outgoing | bool, dns: Dns | bool, *, tcp: bool, udp: bool, names: bool) -> Way:
    """Return what leaves from the target.

    Args:
        tcp, udp, names: False: the command line says no.

    Raises:
        UserError: A destination that is none, or both lists.
    """
    if isinstance(outgoing, bool):
        outgoing = Outgoing(tcp=outgoing, udp=outgoing)
    if isinstance(dns, bool):
        dns = Dns(enabled=dns)
    chosen, named = outgoing.filter, dns.filter
    for place, lists in ((PLACE, chosen), (DNS_PLACE, named)):
        if lists.remote is not None and lists.local is not None:
            raise UserError(f"{place}.remote and {place}.local exclude each other.", hint="Keep one of them.")
    return Way(
        tcp=outgoing.tcp and tcp,
        udp=outgoing.udp and udp,
        localhost=not outgoing.ignore_localhost,
        remote=tuple(_destination(entry, "remote", at) for at, entry in enumerate(_listed(chosen.remote))),
        local=tuple(_destination(entry, "local", at) for at, entry in enumerate(_listed(chosen.local))),
        unix_streams=_expressions(outgoing.unix_streams),
        names=dns.enabled and names,
        names_remote=tuple(_pattern(entry, "remote", at) for at, entry in enumerate(_listed(named.remote))),
        names_local=tuple(_pattern(entry, "local", at) for at, entry in enumerate(_listed(named.local))),
    )


def _listed(given: str | list[str] | None) -> list[str]:
    return [given] if isinstance(given, str) else given or []


def _destination(entry: str, which: str, at: int) -> str:
    found = _ENTRY.fullmatch(entry)
    where = f"{PLACE}.{which}[{at}]: '{entry}'"
    if not entry or found is None:
        raise UserError(
            f"{where} is no destination.", hint="Write it as tcp://10.0.0.0/8:443; each part may be left out."
        )
    host = (found["v6"] or found["host"] or "") + (found["v6_bits"] or "")
    try:
        network = str(ipaddress.ip_network(host, strict=False)) if host not in ANY else "*"
    except ValueError:
        name = host.removesuffix(".")
        # A number at the end: an address that is none.
        if not _NAME.fullmatch(name) or name.rpartition(".")[2].isdecimal():
            raise UserError(
                f"{where}: '{host}' is no name, no IP address and no network.",
                hint="Give a name, an address, or a CIDR such as 10.0.0.0/8.",
            ) from None
        network = f"name:{name}"
    port = found["port"]
    if port is not None and int(port) > 65535:
        raise UserError(f"{where}: {port} is no port.", hint="Ports are 1 to 65535.")
    return f"{found['protocol'] or '*'} {network} {int(port or 0) or '*'}"


def _expressions(given: str | list[str] | None) -> tuple[str, ...]:
    found = tuple(_listed(given))
    for at, text in enumerate(found):
        try:
            re.compile(text)
        except re.error as error:
            where = "feature.network.outgoing.unix_streams" + ("" if isinstance(given, str) else f"[{at}]")
            raise UserError(
                f"{where}: {error.msg}.",
                hint="Correct the regular expression.",
                shown=pointed(text, error.pos or 0),
            ) from None
    return found


def _pattern(entry: str, which: str, at: int) -> str:
    name = entry.removesuffix(".")
    if not _NAME.fullmatch(name.removeprefix("*.")):
        raise UserError(
            f"{DNS_PLACE}.{which}[{at}]: '{entry}' is no name.",
            hint="Write a name as the program says it, or *.NAME for all below it; ports and addresses have no part in it.",
        )
    return name
