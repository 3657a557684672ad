"""Values in JSON by the steps of a JSONPath (RFC 9535), which the session has read from its text."""

from collections.abc import Iterator

MAX_NODES = 20_000
"""Values looked at for one question: a body has at most 64 KiB."""

Json = object
Step = tuple[bool, list[object]]
"""Whether all descendants count, and selectors: a name, an index, a slice as three, None for all members."""


def parse_steps(raw: object) -> list[Step]:
    """Return the steps.

    Raises:
        ValueError: They are none.
    """
    if not isinstance(raw, list):
        raise ValueError("the steps of a query are a list")
    steps: list[Step] = []
    for step in raw:
        if not isinstance(step, list) or len(step) != 2 or not isinstance(step[1], list):
            raise ValueError("a step of a query is a pair")
        for selector in step[1]:
            is_slice = isinstance(selector, list) and len(selector) == 3
            if is_slice and not all(end is None or isinstance(end, int) for end in selector):
                raise ValueError("a slice has numbers")
            if not is_slice and not isinstance(selector, str | int | None):
                raise ValueError("there is no such selector")
        steps.append((bool(step[0]), step[1]))
    return steps


def select(value: Json, steps: list[Step]) -> list[Json]:
    """Return the values that the steps lead to, as far as MAX_NODES goes."""
    found = [value]
    for is_deep, selectors in steps:
        begin = list(_with_descendants(found)) if is_deep else found
        found = [member for node in begin for selector in selectors for member in _members(node, selector)][:MAX_NODES]
    return found


def _with_descendants(nodes: list[Json]) -> Iterator[Json]:
    todo = list(reversed(nodes))
    for _ in range(MAX_NODES):
        if not todo:
            return
        node = todo.pop()
        yield node
        todo += reversed(_all(node))


def _members(node: Json, selector: object) -> list[Json]:
    if selector is None:
        return _all(node)
    if isinstance(selector, str):
        return [node[selector]] if isinstance(node, dict) and selector in node else []
    if not isinstance(node, list):
        return []
    if isinstance(selector, int):
        return [node[selector]] if -len(node) <= selector < len(node) else []
    assert isinstance(selector, list)
    # A step of 0 selects nothing (RFC 9535 section 2.3.4.2), which Python's own slices refuse.
    return [] if selector[2] == 0 else node[slice(*selector)]


def _all(node: Json) -> list[Json]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []
