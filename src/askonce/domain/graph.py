"""What a workflow is made of: nodes, each one piece of work for a model, and what they wait for."""

from typing import Literal

from msgspec import Struct

NodeType = Literal["plan", "scaffold", "build", "validate", "quality", "review"]
# `skipped`: its condition was not met. `cancelled`: it was stopped, or its execution was before it began.
NodeStatus = Literal["waiting", "running", "succeeded", "failed", "skipped", "cancelled"]

MAX_NODES = 50
RETRIES = 3  # where a node does not say: four attempts with waits of 1, 2 and 4 seconds between them


class Node(Struct, frozen=True, omit_defaults=True):
    """Describe one node, as it was asked for and found right.

    `prompt` is a template ("": what the type does by itself; `quality` asks no model). `when` is a condition ("":
    always). `model` and `provider` "": routing chooses by the type. `temperature`, `max_tokens` and `retries` None:
    not said.
    """

    id: str
    type: NodeType
    prompt: str = ""
    depends_on: tuple[str, ...] = ()
    model: str = ""
    provider: str = ""
    temperature: float | None = None
    max_tokens: int | None = None
    retries: int | None = None
    when: str = ""

    @property
    def attempts(self) -> int:
        """Return how often the node is tried at the most."""
        return 1 + (RETRIES if self.retries is None else self.retries)


class Graph(Struct, frozen=True, omit_defaults=True):
    """Hold a validated graph: ids are unique, every `depends_on` is there, nothing waits for itself.

    `edition` names the rules by which it runs, so that newer rules do not reshape runs that have begun.
    """

    nodes: tuple[Node, ...]
    name: str = "custom"
    edition: int = 1
