"""Conditions of nodes: `nodes.ID.status|score (==|!=|<|>) literal`. Parsed by hand, never evaluated as code.

A status is compared with one of its words, a score with a number. The score of a node that has none meets nothing.
"""

import math
import re
from collections.abc import Mapping
from typing import Final, Literal, get_args

from msgspec import Struct

from askonce.domain.errors import Detail, Invalid
from askonce.domain.executions import NodeRun
from askonce.domain.graph import NodeStatus

Operator = Literal["==", "!=", "<", ">"]
MAX_CHARS = 200
STATUSES: Final[tuple[NodeStatus, ...]] = get_args(NodeStatus)
FORM = 'write it as nodes.ID.status == "failed" or nodes.ID.score < 70'

_SHAPE = re.compile(r"\s*nodes\.([A-Za-z0-9_-]+)\.(status|score)\s*(==|!=|<|>)(?!=)\s*(\S.*?)\s*", re.ASCII)
_QUOTED = re.compile(r"""(["'])([a-z]+)\1""")
_NUMBER = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,9})?")


class Condition(Struct, frozen=True):
    """Hold a condition: what it asks of which node, and what that is compared with."""

    node: str
    field: Literal["status", "score"]
    operator: Operator
    literal: str | float

    def is_met(self, runs: Mapping[str, NodeRun]) -> bool:
        """Say whether it is met, by how nodes ended; one that is not there meets nothing."""
        run = runs.get(self.node)
        if run is None or (self.field == "score" and run.score < 0):
            return False
        found: str | int = run.status if self.field == "status" else run.score
        if self.operator == "==":
            return found == self.literal
        if self.operator == "!=":
            return found != self.literal
        if isinstance(found, str) or isinstance(self.literal, str):
            return False
        return found < self.literal if self.operator == "<" else found > self.literal


def read_condition(when: str) -> Condition:
    """Read a condition. Raises `Invalid`, whose message is the second half of a sentence."""
    match = _SHAPE.fullmatch(when) if len(when) <= MAX_CHARS else None
    if match is None:
        raise _wrong(f"is no condition: {FORM}")
    node, field, operator, literal = match.groups()
    if field == "score":
        if _NUMBER.fullmatch(literal) is None or not math.isfinite(float(literal)):
            raise _wrong("compares a score with what is no number")
        return Condition(node, "score", operator, float(literal))  # type: ignore[arg-type]  # one of the four
    quoted = _QUOTED.fullmatch(literal)
    word = quoted[2] if quoted else literal
    if word not in STATUSES:
        raise _wrong(f"compares a status with {literal[:40]}: a status is one of {', '.join(STATUSES)}")
    if operator not in ("==", "!="):
        raise _wrong("compares a status by size: use == or !=")
    return Condition(node, "status", operator, word)  # type: ignore[arg-type]  # one of the two


def _wrong(problem: str) -> Invalid:
    return Invalid(problem, details=[Detail("when", problem)])
