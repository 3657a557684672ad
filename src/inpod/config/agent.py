"""`agent`: what runs beside the target."""

from typing import Annotated, Literal

from msgspec import Meta

from inpod.config.section import Section

Seconds = Annotated[float, Meta(gt=0)]


class Image(Section, frozen=True):
    """A bare string is the whole name."""

    registry: Annotated[str, Meta(description="Registry and repository.")]
    tag: Annotated[str, Meta(description="Tag.")] = "latest"


class Agent(Section, frozen=True):
    """Only targets in a cluster need it."""

    image: Annotated[
        Image | str | None,
        Meta(description="As `-i`: any image with Python 3.11 or later; without it, a stock Python image."),
    ] = None
    ephemeral: Annotated[
        bool,
        Meta(description="As `-e`: the agent is an ephemeral container of the target's pod, not a Job on its node."),
    ] = False
    redirect: Annotated[
        Literal["auto", "sk_lookup", "nftables"],
        Meta(description="How connections are diverted when stealing; auto: by BPF sk_lookup, else by nftables."),
    ] = "auto"
    flush_connections: Annotated[
        bool, Meta(description="Connections that the target has on a stolen port are reset: their clients come again.")
    ] = True
    startup_timeout: Annotated[
        Seconds | None,
        Meta(description="As `--agent-startup-timeout`: seconds that the agent may take to start; without it, 60."),
    ] = None


def image_name(value: Image | str | None) -> str | None:
    """Return an image as it is pulled."""
    return f"{value.registry}:{value.tag}" if isinstance(value, Image) else value
