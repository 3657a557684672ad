"""`target`: what the program stands in."""

from typing import Annotated, NamedTuple

from msgspec import Meta

from inpod.config.section import Section
from inpod.errors import UserError


class Workload(Section, frozen=True):
    """A bare string is the form of `-t`."""

    pod: Annotated[str | None, Meta(description="Name of a pod.")] = None
    deployment: Annotated[str | None, Meta(description="Name of a deployment.")] = None
    container: Annotated[str | None, Meta(description="Name of one of its containers.")] = None


class Target(Section, frozen=True):
    """A bare string is the path."""

    path: Annotated[
        Workload | str | None, Meta(description="As `-t`: `pod/NAME`, `deployment/NAME/container/C`, `pid/PID`, …")
    ] = None
    namespace: Annotated[str | None, Meta(description="As `-n`; without it, that of the context.")] = None
    pod: Annotated[str | None, Meta(description="As `path.pod`.")] = None
    deployment: Annotated[str | None, Meta(description="As `path.deployment`.")] = None
    container: Annotated[str | None, Meta(description="As `path.container`.")] = None


class Named(NamedTuple):
    """As on the command line: `-t` and `-n`; None: not said."""

    path: str | None
    namespace: str | None


def as_target(value: Target | str | None) -> Named:
    """Return what `value` names.

    Raises:
        UserError: Nothing, or more than one thing.
    """
    if not isinstance(value, Target):
        return Named(value, None)
    beside = _path(Workload(value.pod, value.deployment, value.container), "target")
    path = _path(value.path, "target.path") if isinstance(value.path, Workload) else value.path
    if beside is not None and path is not None:
        raise UserError("The target is named twice, by target.path and beside it.", hint="Keep target.path.")
    return Named(path if path is not None else beside, value.namespace)


def _path(value: Workload, place: str) -> str | None:
    """Return it in the form of `-t`."""
    named = [(kind, name) for kind in ("pod", "deployment") if (name := getattr(value, kind)) is not None]
    if len(named) > 1 or (value.container is not None and not named):
        raise UserError(
            f"{place} names {'a pod and a deployment' if named else 'a container of nothing'}.",
            hint=f"Give one of {place}.pod and {place}.deployment.",
        )
    if not named:
        return None
    kind, name = named[0]
    return f"{kind}/{name}" + (f"/container/{value.container}" if value.container is not None else "")
