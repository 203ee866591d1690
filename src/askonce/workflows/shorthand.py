"""The shorthand of `/llm/workflow/generate`: what is wanted, in words; from it the standard graph.

Complexity says which nodes there are, and so how much may be written: each writes as much as its type does where
nothing else is said (`standard`), but for the `build` of what is simple, which has half of that.

    simple     plan → build → quality
    moderate   plan → scaffold → build → validate → quality → review
    complex    the same, and tests are built beside the code, from the same plan

Prompts are those of the types, too, but for `tests`, which is a `build` that must not write the program again.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from askonce.domain.errors import Detail
from askonce.domain.graph import Graph, Node
from askonce.wire.strict import invalid, problems_of
from askonce.workflows.graph import MAX_PROMPT_CHARS

Complexity = Literal["simple", "moderate", "complex"]
COMPLEXITIES: Final[tuple[Complexity, ...]] = get_args(Complexity)
NAME = "standard"
SIMPLE_BUILD_TOKENS = 4_096  # one or two files; there is no model but can write as much
TESTS = (
    "{{input.prompt}}\n\nThe plan:\n{{nodes.plan.text}}\n\nThe files so far:\n{{nodes.scaffold.files}}\n\n"
    "Write the automated tests for this, in files of their own. Write no other file."
)

_Word = Annotated[str, Meta(max_length=60)]
_Line = Annotated[str, Meta(max_length=4000)]
_Lines = Annotated[tuple[_Line, ...], Meta(max_length=50)]


class Wanted(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Hold what is wanted. `null` means absent."""

    prompt: Annotated[str, Meta(max_length=MAX_PROMPT_CHARS)]
    language: _Word | None = None
    framework: _Word | None = None
    complexity: Complexity | None = None
    requirements: _Lines | None = None
    constraints: _Lines | None = None


def read_wanted(told: dict[str, Any]) -> tuple[Graph, dict[str, Any]]:
    """Make the standard graph of decoded JSON, and its input. Raises `Invalid`, which names every problem."""
    problems = problems_of(Wanted, told)
    prompt = told.get("prompt")
    if isinstance(told.get("complexity"), str) and told["complexity"] not in COMPLEXITIES:
        problems = [problem for problem in problems if problem.field != "complexity"]
        problems.append(Detail("complexity", f"must be one of {', '.join(COMPLEXITIES)}"))
    if isinstance(prompt, str) and not prompt.strip():
        problems.append(Detail("prompt", "must not be blank"))
    if problems:
        raise invalid(problems)
    complexity = msgspec.convert(told, Wanted).complexity or "moderate"
    input = {name: value for name, value in told.items() if value is not None}
    return standard_graph(complexity), {**input, "complexity": complexity}


def refuse_both(told: Mapping[str, Any]) -> None:
    """Raise `Invalid` where a body holds a graph and the shorthand together."""
    own = [name for name in told if name in Wanted.__struct_fields__]
    if own and not told.keys().isdisjoint(("graph", "input")):
        raise invalid([Detail(name, "belongs to the shorthand: send that, or graph and input") for name in own])


def standard_graph(complexity: Complexity) -> Graph:
    """Return the built-in graph for work of this size."""
    plan = Node("plan", "plan")
    if complexity == "simple":
        build = Node("build", "build", depends_on=("plan",), max_tokens=SIMPLE_BUILD_TOKENS)
        return Graph((plan, build, Node("quality", "quality", depends_on=("build",))), NAME)
    scaffold = Node("scaffold", "scaffold", depends_on=("plan",))
    build = Node("build", "build", depends_on=("plan", "scaffold"))
    tests = Node("tests", "build", prompt=TESTS, depends_on=("plan", "scaffold"))
    built = (build, tests) if complexity == "complex" else (build,)
    ids = tuple(node.id for node in built)
    validate = Node("validate", "validate", depends_on=("plan", *ids))
    quality = Node("quality", "quality", depends_on=("scaffold", *ids, "validate"))
    review = Node("review", "review", depends_on=("quality",))
    return Graph((plan, scaffold, *built, validate, quality, review), NAME)
