"""The shorthand of `/llm/workflow/generate`: what is wanted, in words; from it the standard graph.

simple     plan → build → quality
moderate   plan → scaffold → build → validate → quality → review
complex    the same, and tests are built beside the code, from the same plan

Prompts of its nodes are those of their types (`standard`).
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import asdict

from askonce.domain.errors import Detail
from askonce.domain.graph import Graph, Node
from askonce.wire.strict import invalid, problems_of

Complexity = Literal["simple", "moderate", "complex"]
NAME = "standard"
_Line = Annotated[str, Meta(max_length=4000)]
_Lines = Annotated[tuple[_Line, ...], Meta(max_length=50)]


class Wanted(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Hold what is wanted. `null` means absent."""

    prompt: Annotated[str, Meta(max_length=200_000)]
    language: Annotated[str, Meta(max_length=60)] | None = None
    framework: Annotated[str, Meta(max_length=60)] | None = None
    complexity: Complexity | None = None
    requirements: _Lines | None = None
    constraints: _Lines | None = None


def read_wanted(told: dict[str, Any]) -> tuple[Graph, dict[str, Any]]:
    """Make the standard graph of decoded JSON, and its input. Raises `Invalid`, which names every problem."""
    problems = problems_of(Wanted, told)
    prompt = told.get("prompt")
    if isinstance(prompt, str) and not prompt.strip():
        problems.append(Detail("prompt", "must not be blank"))
    if problems:
        raise invalid(problems)
    wanted = Wanted(**{name: _plain(value) for name, value in told.items()})
    complexity = wanted.complexity or "moderate"
    input = {name: value for name, value in asdict(wanted).items() if value is not None}
    return standard_graph(complexity), {**input, "complexity": complexity}


def standard_graph(complexity: Complexity) -> Graph:
    """Return the built-in graph for work of this size."""
    plan = Node("plan", "plan")
    if complexity == "simple":
        nodes = (plan, Node("build", "build", depends_on=("plan",)), Node("quality", "quality", depends_on=("build",)))
        return Graph(nodes, NAME)
    scaffold = Node("scaffold", "scaffold", depends_on=("plan",))
    build = Node("build", "build", depends_on=("plan", "scaffold"))
    tests = Node("tests", "build", prompt=TESTS, depends_on=("plan", "scaffold"))
    built = (build, tests) if complexity == "complex" else (build,)
    ids = tuple(node.id for node in built)
    validate = Node("validate", "validate", depends_on=("plan", *ids))
    quality = Node("quality", "quality", depends_on=("scaffold", *ids, "validate"))
    review = Node("review", "review", depends_on=("quality",))
    return Graph((plan, scaffold, *built, validate, quality, review), NAME)


TESTS = (
    "{{input.prompt}}\n\nThe plan:\n{{nodes.plan.text}}\n\nThe files so far:\n{{nodes.scaffold.files}}\n\n"
    "Write the automated tests for this, in files of their own. Write no other file."
)


def refuse_both(told: dict[str, Any]) -> None:
    """Raise `Invalid` where a body holds a graph and the shorthand together."""
    both = [name for name in told if name in Wanted.__struct_fields__ and "graph" in told]
    if both:
        raise invalid([Detail(name, "belongs to the shorthand: send it, or graph and input") for name in both])


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
