"""What each type of node knows of its trade: what it asks, and what is made of the answer. Pure, but for inspecting.

Ports, so that running a graph can be tried without prompts, parsers and models; `trades` has the real ones.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Raw, Struct

from askonce.domain.call import Format, Message
from askonce.domain.executions import NodeRun
from askonce.domain.graph import Graph, Node
from askonce.wire.fences import File


class Task(Struct, frozen=True):
    """Hold what a node has to work with.

    `input` is the submission's, a JSON object. `runs` are the nodes that it depends on, over however many others, as
    they ended, in the graph's order. `files` are what these left, merged by path.
    """

    node: Node
    graph: Graph
    input: Raw
    runs: Mapping[str, NodeRun]
    files: tuple[File, ...]


class Brief(Struct, frozen=True):
    """Hold what is asked.

    `max_tokens`: how long the answer may be, by what the node says of it too; None for no bound of ours. `note`: what
    its reader should know of it, such as that something was cut.
    """

    messages: tuple[Message, ...]
    max_tokens: int | None = None
    format: Format | None = None
    note: str = ""


class Inspection(Struct, frozen=True):
    """Hold what was found in files: `broken` are the paths of those that do not parse. `score` in 0–100."""

    report: Raw
    score: int
    broken: tuple[str, ...]


class Reviewed(Struct, frozen=True):
    """Hold what a review came to: JSON, and a sentence where the opinion is absent."""

    report: Raw
    note: str = ""


class Crafts(Protocol):
    """Know the trades. `window`: how many tokens the model reads. Nothing raises for what a model said.

    What asks raises `ContextExceeded` where the window is too small for it.
    """

    def brief(self, task: Task, window: int) -> Brief:
        """Say what a node asks. Raises `Invalid` where its template cannot be filled."""
        ...

    async def inspect(self, files: Sequence[File]) -> Inspection:
        """Parse and lint files, executing nothing."""
        ...

    def repair(self, task: Task, broken: Sequence[File], inspection: Inspection, window: int) -> Brief:
        """Say how the node that wrote these files is asked once more, with what was found. `task` is that node's."""
        ...

    def review(self, task: Task, said: str, absent: str) -> Reviewed:
        """Make the report of a review: what changed, and the opinion; `absent` says why there is none."""
        ...
