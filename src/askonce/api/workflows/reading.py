"""The body of the doors that take workflows: what is of the request itself, and what is of the workflow."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from askonce.domain.errors import Detail, Invalid, Malformed
from askonce.domain.graph import Graph
from askonce.wire.strict import invalid, unknown_field
from askonce.workflows.graph import read_graph
from askonce.workflows.shorthand import read_wanted, refuse_both

_GRAPHS = ("graph", "input")


class Asked(Struct, frozen=True):
    """Hold a workflow that was found right, and how its caller wants to hear of it."""

    graph: Graph
    input: Mapping[str, Any]
    wait: bool | None = None
    stream: bool = False

    @property
    def work(self) -> Raw:
        """Return what is kept of it."""
        return Raw(msgspec.json.encode({"graph": self.graph, "input": self.input}))


def read_asked(raw: bytes) -> Asked:
    """Read the body of a door that takes workflows. Raises `Malformed`, `Invalid`."""
    told = read_object(raw)
    wait, stream = _switch(told, "wait"), _switch(told, "stream")
    if stream and wait is False:
        raise invalid([Detail("wait", "contradicts stream, which waits: send one of them")])
    graph, input = plan(told)
    return Asked(graph, input, wait, bool(stream))


def plan(told: dict[str, Any]) -> tuple[Graph, Mapping[str, Any]]:
    """Find a workflow right: a graph with its input, or the shorthand. Raises `Invalid`, which names every problem."""
    refuse_both(told)
    if not told.keys() & {*_GRAPHS}:
        return read_wanted(told)
    input = told.get("input")
    problems = [unknown_field(name, _KNOWN) for name in told if name not in _GRAPHS]
    if input is not None and not isinstance(input, dict):
        problems.append(Detail("input", "must be an object"))
    if problems:
        raise invalid(problems)
    return read_graph(told.get("graph"), input or {}), input or {}


_KNOWN = (*_GRAPHS, "wait", "stream")


def read_object(raw: bytes) -> dict[str, Any]:
    """Read a JSON object. Raises `Malformed`, `Invalid`."""
    try:
        told = msgspec.json.decode(raw)
    except RecursionError:
        raise Malformed("The body is nested too deep.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Malformed("The body is not valid JSON in UTF-8.") from None
    if not isinstance(told, dict):
        raise Invalid("The body must be a JSON object.")
    return told


def _switch(told: dict[str, Any], name: str) -> bool | None:
    value = told.pop(name, None)
    if value is not None and not isinstance(value, bool):
        raise invalid([Detail(name, "must be true or false")])
    return value
