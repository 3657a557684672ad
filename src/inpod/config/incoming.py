"""`feature.network.incoming`: what happens to the connections that the target gets."""

from typing import Annotated, Literal

from msgspec import Meta

from inpod.config.section import Section
from inpod.errors import UserError

IncomingMode = Literal["mirror", "steal", "off"]


class Incoming(Section, frozen=True):
    """A bare string is the mode; true is "mirror", false is "off"."""

    mode: Annotated[
        str,
        Meta(
            description='"mirror" (the program gets a copy), "steal" (as `--steal`: new connections come to the program) '
            'or "off" (its listeners stay on this machine).'
        ),
    ] = "mirror"


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
    raise UserError(f"There is no incoming mode '{value}'.", hint="Use 'mirror', 'steal' or 'off'.")
