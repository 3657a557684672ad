"""`feature.network.incoming.http_filter`: which HTTP requests come to the program."""

from typing import Annotated, Literal

from msgspec import Meta

from inpod.config.section import Section
from inpod.errors import UserError

PLACE = "feature.network.incoming.http_filter"

Regex = str
Port = Annotated[int, Meta(ge=1, le=65535)]


class Body(Section, frozen=True):
    """A part of the body."""

    body: Annotated[Literal["json"], Meta(description='What the body is: "json".')]
    query: Annotated[str, Meta(description="JSONPath (RFC 9535) of the values to look at; without `?` selectors.")]
    matches: Annotated[Regex, Meta(description="One of them, as text, matches this.")]


class Clause(Section, frozen=True):
    """One condition of `any_of` or `all_of`: exactly one of `header`, `path`, `method`, `body`."""

    header: Annotated[Regex | None, Meta(description="As `header_filter`.")] = None
    path: Annotated[Regex | None, Meta(description="As `path_filter`.")] = None
    method: Annotated[str | None, Meta(description="As `method_filter`.")] = None
    body: Annotated[Literal["json"] | None, Meta(description="As `body_filter`, with `query` and `matches`.")] = None
    query: Annotated[str | None, Meta(description="As in `body_filter`.")] = None
    matches: Annotated[Regex | None, Meta(description="As in `body_filter`.")] = None


class HttpFilter(Section, frozen=True):
    """Requests that do not match go to the target itself. One of the filters, or `any_of`, or `all_of`."""

    header_filter: Annotated[
        Regex | None, Meta(description='A header, as "Name: value", matches this. Case does not count.')
    ] = None
    path_filter: Annotated[
        Regex | None, Meta(description="The path, or the path with its query, matches this. Case does not count.")
    ] = None
    method_filter: Annotated[str | None, Meta(description="The method is this. Case does not count.")] = None
    body_filter: Annotated[Body | None, Meta(description="The body (its first 64 KiB) has a value that matches.")] = (
        None
    )
    any_of: Annotated[list[Clause] | None, Meta(description="One of these holds.")] = None
    all_of: Annotated[list[Clause] | None, Meta(description="All of these hold.")] = None
    ports: Annotated[
        list[Port] | None, Meta(description="Ports of the target that the filter is for; without it, all.")
    ] = None


Kind = Literal["header", "path", "method", "body"]
Condition = tuple[Kind, str, str, str]
"""Kind, text, JSONPath ("" unless of a body), and place in the configuration."""


def conditions(value: HttpFilter) -> tuple[bool, list[Condition]]:
    """Return whether all must hold, and what.

    Raises:
        UserError: None, or more than one, of what excludes each other is given.
    """
    simple: tuple[tuple[Kind, str | None], ...] = (
        ("header", value.header_filter),
        ("path", value.path_filter),
        ("method", value.method_filter),
    )
    found: list[Condition] = [(kind, text, "", f"{PLACE}.{kind}_filter") for kind, text in simple if text is not None]
    if value.body_filter is not None:
        found.append(("body", value.body_filter.matches, value.body_filter.query, f"{PLACE}.body_filter"))
    given = len(found) + (value.any_of is not None) + (value.all_of is not None)
    if given != 1:
        what = "More than one filter is" if given else "No filter is"
        raise UserError(
            f"{what} given in {PLACE}.",
            hint="Give one of header_filter, path_filter, method_filter, body_filter, any_of and all_of.",
        )
    for name, clauses in (("any_of", value.any_of), ("all_of", value.all_of)):
        for at, clause in enumerate(clauses or ()):
            found.append(_condition(clause, f"{PLACE}.{name}[{at}]"))
    if not found:
        raise UserError(f"{PLACE} has an empty list.", hint="Put at least one condition into it.")
    return value.all_of is not None, found


def _condition(clause: Clause, place: str) -> Condition:
    given = [kind for kind in ("header", "path", "method", "body") if getattr(clause, kind) is not None]
    if len(given) != 1:
        raise UserError(f"{place} has {len(given)} conditions.", hint="Give one of header, path, method and body.")
    of_body = [clause.query is not None, clause.matches is not None]
    if not all(of_body) if clause.body is not None else any(of_body):
        raise UserError(f"{place}: body, query and matches go together.", hint='For instance "body": "json".')
    if clause.body is not None:
        return "body", clause.matches or "", clause.query or "", place
    kind = given[0]
    return kind, getattr(clause, kind), "", f"{place}.{kind}"  # type: ignore[return-value]  # one of the three
