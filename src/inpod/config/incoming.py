"""`feature.network.incoming`: what happens to the connections that the target gets."""

from typing import Annotated, Literal, NamedTuple

from msgspec import Meta

from inpod.config.http_filter import HttpFilter
from inpod.config.section import Section
from inpod.errors import UserError

IncomingMode = Literal["mirror", "steal", "off"]

Port = Annotated[int, Meta(ge=1, le=65535)]
Pair = tuple[Port, Port]


OnConcurrentSteal = Literal["abort", "override", "continue"]


class Incoming(Section, frozen=True):
    """A bare string is the mode; true is "mirror", false is "off"."""

    mode: Annotated[
        str,
        Meta(
            description='"mirror" (the program gets a copy), "steal" (as `--steal`: new connections come to the program) '
            'or "off" (its listeners stay on this machine).'
        ),
    ] = "mirror"
    ports: Annotated[
        list[Port] | None, Meta(description="Only listeners on these ports get the target's connections.")
    ] = None
    ignore_ports: Annotated[
        list[Port] | None, Meta(description="Listeners on these ports stay on this machine. Not together with `ports`.")
    ] = None
    port_mapping: Annotated[
        list[Pair] | None,
        Meta(description="`[program's port, target's port]`: a listener gets the connections of another port."),
    ] = None
    listen_ports: Annotated[
        list[Pair] | None,
        Meta(description="`[program's port, port on this machine]`: where a listener can be called by hand."),
    ] = None
    http_filter: Annotated[
        HttpFilter | None, Meta(description="Only these HTTP requests come to the program; all others go on as ever.")
    ] = None
    on_concurrent_steal: Annotated[
        OnConcurrentSteal,
        Meta(
            description='Another session has the port: "abort" (the listener fails), "override" (that session loses it, where the two cannot share) or '
            '"continue" (the program goes on without the traffic of that port).'
        ),
    ] = "abort"
    steal_probes: Annotated[
        bool,
        Meta(
            description="The kubelet's own requests (probes by HTTP and gRPC) come to the program as all others do; without it "
            "the target itself answers them."
        ),
    ] = False
    ignore_localhost: Annotated[bool, Meta(description="Listeners on loopback addresses stay on this machine.")] = False


class Ports(NamedTuple):
    """Which listeners of the program get the target's connections, and where they really listen.

    Attributes:
        only: These; empty: all.
        ignored: All but these.
        listen: The program's port, and where it is had on this machine.
        mapped: The program's port, and that of the target whose connections it gets.
        ignores_localhost: Listeners on loopback addresses are left alone.
    """

    only: tuple[int, ...] = ()
    ignored: tuple[int, ...] = ()
    listen: tuple[Pair, ...] = ()
    mapped: tuple[Pair, ...] = ()
    ignores_localhost: bool = False


def incoming_ports(value: Incoming | str | bool) -> Ports:
    """Return what `value` says of ports.

    Raises:
        UserError: Two keys exclude each other, or a port is mapped twice.
    """
    if not isinstance(value, Incoming):
        return Ports()
    place = "feature.network.incoming"
    if value.ports is not None and value.ignore_ports is not None:
        raise UserError(f"{place}.ports and {place}.ignore_ports exclude each other.", hint="Keep one of them.")
    for name, pairs in (("port_mapping", value.port_mapping), ("listen_ports", value.listen_ports)):
        for side, whose in ((0, "the program's"), (1, "the other")):
            seen = [pair[side] for pair in pairs or ()]
            if twice := next((port for port in seen if seen.count(port) > 1), None):
                raise UserError(f"{place}.{name}: {whose} port {twice} is there twice.", hint="Map each port once.")
    return Ports(
        tuple(value.ports or ()),
        tuple(value.ignore_ports or ()),
        tuple(value.listen_ports or ()),
        tuple(value.port_mapping or ()),
        value.ignore_localhost,
    )


def incoming_mode(value: Incoming | str | bool) -> IncomingMode:
    """Return the mode that `value` stands for.

    Raises:
        UserError: There is no such mode.
    """
    if isinstance(value, Incoming):
        value = value.mode
    match value:
        case True | "mirror":
            return "mirror"
        case False | "off":
            return "off"
        case "steal":
            return "steal"
    raise UserError(f"There is no mode '{value}' of feature.network.incoming.", hint="Use 'mirror', 'steal' or 'off'.")
