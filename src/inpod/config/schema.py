"""The configuration file: mirrord's keys for what inpod does. The fields' descriptions make docs/reference/config.md."""

from typing import Annotated, Literal

from msgspec import Meta

from inpod.config.agent import Agent
from inpod.config.env import Env
from inpod.config.files import Files
from inpod.config.incoming import Incoming
from inpod.config.outgoing import Dns, Outgoing
from inpod.config.section import Section
from inpod.config.target import Target


class Network(Section, frozen=True):
    """true: all of it, as without the key; false: nothing, neither connections nor names."""

    incoming: Annotated[Incoming | str | bool, Meta(description="The connections that the target gets.")] = Incoming()
    outgoing: Annotated[Outgoing | bool, Meta(description="What leaves from the target.")] = Outgoing()
    dns: Annotated[Dns | bool, Meta(description="Who resolves names.")] = Dns()


def network_of(value: Network | bool) -> Network:
    """Return the object that `value` stands for."""
    if isinstance(value, Network):
        return value
    return Network() if value else Network(incoming=False, outgoing=False, dns=False)


class Feature(Section, frozen=True):
    """What of the target the program gets."""

    env: Annotated[Env | bool, Meta(description="The target's environment variables.")] = Env()
    fs: Annotated[Files | str | bool, Meta(description="The target's files.")] = Files()
    hostname: Annotated[bool, Meta(description="The host's name is the target's.")] = True
    network: Annotated[Network | bool, Meta(description="The target's network.")] = Network()


Interceptor = Literal["auto", "layer", "tracer"]


class File(Section, frozen=True):
    """The whole file."""

    target: Annotated[Target | str | None, Meta(description="What the program stands in.")] = None
    kube_context: Annotated[
        str | None, Meta(description="As `--context`: the context of the kubeconfig; without it, the current one.")
    ] = None
    key: Annotated[
        str | None,
        Meta(
            description="As `-k`: what `{{ key }}` stands for elsewhere in the file. May have `{{ git_branch }}` in it."
        ),
    ] = None
    interceptor: Annotated[
        Interceptor,
        Meta(
            description="As `--interceptor`: how the program's calls are had; layer: by a library in it, tracer: by the "
            "kernel, auto: by the layer where it can be in the program."
        ),
    ] = "auto"
    skip_processes: Annotated[
        str | list[str] | None,
        Meta(
            description="Programs that stay this machine's, by the name of their file or of the command: a list, or names "
            "with `;` between. What they start stands in the target."
        ),
    ] = None
    skip_build_tools: Annotated[
        bool, Meta(description="Compilers, linkers, `go`, `cargo`, `git` and their like are such programs.")
    ] = True
    skip_extra_build_tools: Annotated[str | list[str] | None, Meta(description="Further build tools.")] = None
    agent: Annotated[Agent, Meta(description="What runs beside the target.")] = Agent()
    feature: Annotated[Feature, Meta(description="What of the target the program gets.")] = Feature()
