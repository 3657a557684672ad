"""`target`: what the program stands in."""

from typing import Annotated

from msgspec import Meta

from inpod.config.section import Section


class Target(Section, frozen=True):
    """A bare string is the path."""

    path: Annotated[
        str | None, Meta(description="As `-t`: `pod/NAME`, `deployment/NAME/container/C`, `pid/PID`, …")
    ] = None
    namespace: Annotated[str | None, Meta(description="As `-n`; without it, that of the context.")] = None


def as_target(value: Target | str | None) -> Target:
    """Return the object that `value` stands for."""
    return value if isinstance(value, Target) else Target(path=value)
