"""Every node is told what was asked for and what it needs of the others, within what its model reads."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw

from askonce.domain.content import text_of
from askonce.domain.errors import ContextExceeded, Invalid
from askonce.domain.executions import NodeRun
from askonce.domain.graph import Graph, Node
from askonce.wire.fences import File, parse
from askonce.workflows.crafts import Brief, Task
from askonce.workflows.quality.report import Checked, Finding, make_report
from askonce.workflows.review.diffs import changes_of
from askonce.workflows.review.opinion import FORMAT, Issue, Opinion
from askonce.workflows.review.report import make_review
from askonce.workflows.review.risk import risk_of
from askonce.workflows.shorthand import standard_graph
from askonce.workflows.standard.context import prose_of
from askonce.workflows.standard.prompts import MARKS, ROOMY_TOKENS, brief, repair
from askonce.workflows.standard.room import middle_cut
from askonce.workflows.standard.texts import REPAIR, SYSTEM
from askonce.workflows.standard.wanted import wanted_of

ASKED = {
    "prompt": "A program that greets.",
    "language": "python",
    "framework": "typer",
    "complexity": "moderate",
    "requirements": ["greets by name", "speaks German"],
    "constraints": ["no network"],
}
PLAN = "1. Goal: greet.\n2. Files: src/hello.py - the program"
SKELETON = File("pyproject.toml", "toml", '[project]\nname = "hello"\n')
DRAFT = File("src/hello.py", "python", "def main(): ...\n")
HELLO = File("src/hello.py", "python", 'def main():\n    print("Hello")\n')
FOUND = make_report(
    (Checked("src/hello.py", "python", "broken", "ruff"),),
    (
        Finding("src/hello.py", 2, 5, "F821", "error", "Undefined name `x`"),
        Finding("src/hello.py", 9, 9, "F401", "note", "`os` imported but unused"),
    ),
)
GRAPH = standard_graph("moderate")


def raw(value: object) -> Raw:
    return Raw(msgspec.json.encode(value))


def done(node: str, text: str = "", *files: File, report: object = None, **more: object) -> NodeRun:
    return NodeRun("e", node, "succeeded", text=text, files=raw(files), report=raw(report), **more)  # type: ignore[arg-type]


RUNS = {
    "plan": done("plan", PLAN),
    "scaffold": done("scaffold", "```python src/hello.py\ndef main(): ...\n```", SKELETON, DRAFT),
    "build": done("build", "", HELLO),
    "validate": done("validate", "- greets by name: met\n```python src/x.py\nx = 1\n```\nAll is well."),
    "quality": done("quality", report=FOUND),
}


def task(type_of_node: str, graph: Graph = GRAPH, asked: object = ASKED, **changed: object) -> Task:
    node = next(node for node in graph.nodes if node.type == type_of_node)
    node = msgspec.structs.replace(node, **changed)
    before = [one.id for one in graph.nodes][: [one.id for one in graph.nodes].index(node.id)]
    runs = {id: RUNS[id] for id in before if id in RUNS}
    files = {"plan": (), "scaffold": (), "build": (SKELETON, DRAFT)}.get(type_of_node, (SKELETON, HELLO))
    return Task(node, graph, raw(asked), runs, files)


def letters(text: str) -> int:
    return -(-len(text) // 4)


def words(made: Brief) -> str:
    return text_of(made.messages[1].content)


@pytest.mark.parametrize("type_of_node", ["plan", "scaffold", "build", "validate", "review"])
def test_every_node_is_told_the_request_and_all_that_belongs_to_it(type_of_node):
    made = brief(task(type_of_node), 100_000, letters)
    system, user = made.messages
    assert (system.role, system.content, user.role) == ("system", SYSTEM[type_of_node], "user")
    for told in (
        "A program that greets.",
        "Language: python",
        "Framework: typer",
        "greets by name",
        "speaks German",
        "no network",
    ):
        assert told in words(made)
    assert made.note == ""
    assert made.max_tokens is None


@pytest.mark.parametrize(
    ("type_of_node", "told", "untold"),
    [
        ("plan", [], [PLAN]),
        ("scaffold", [PLAN], []),
        ("build", [PLAN, SKELETON.content, DRAFT.content], []),
        ("validate", [PLAN, SKELETON.content, HELLO.content], [DRAFT.content]),
        (
            "review",
            [PLAN, HELLO.content, "All is well.", "line 2, column 5: Undefined name `x`"],
            ["unused", "src/x.py"],
        ),
    ],
)
def test_every_node_is_told_what_it_needs_of_the_others(type_of_node, told, untold):
    made = words(brief(task(type_of_node), 100_000, letters))
    assert [text for text in told if text not in made] == []
    assert [text for text in untold if text in made] == []


def test_a_review_is_asked_for_by_its_schema():
    assert brief(task("review"), 100_000, letters).format == FORMAT
    assert brief(task("build"), 100_000, letters).format is None


def test_files_are_shown_as_blocks_that_are_read_back():
    made = words(brief(task("review"), 100_000, letters))
    assert parse(made).files == (SKELETON, HELLO)


def test_failures_and_opinions_are_told():
    graph = Graph(
        (Node("b", "build"), Node("r", "review", depends_on=("b",)), Node("f", "build", depends_on=("b", "r")))
    )
    opinion = Opinion("changes", "One thing.", (Issue("error", "is not there", "src/hello.py", 2),))
    runs = {"b": done("b", "", HELLO)}
    changes = changes_of(runs)
    reviewed = make_review(opinion, risk_of(changes, (HELLO,)), changes, (HELLO,))
    runs |= {"r": done("r", report=reviewed)}
    made = words(brief(Task(graph.nodes[2], graph, raw({}), runs, (HELLO,)), 50_000, letters))
    assert "changes: One thing.\n- src/hello.py, line 2: is not there" in made
    failed = {"b": NodeRun("e", "b", "failed", error="The provider is away.")}
    assert "`b` failed\n\nThe provider is away." in words(
        brief(Task(graph.nodes[2], graph, raw({}), failed, ()), 50_000, letters)
    )


def test_a_prompt_of_ones_own_is_all_that_is_asked():
    own = (
        "{{input.prompt}} By\n{{nodes.plan.text}}\nwith {{input.requirements}} in\n{{nodes.scaffold.files}}\n{{{{x}}}}"
    )
    made = brief(task("build", prompt=own), 100_000, letters)
    assert made.messages[0].content == SYSTEM["build"]
    assert words(made) == (
        f'A program that greets. By\n{PLAN}\nwith ["greets by name","speaks German"] in\n'
        '```toml pyproject.toml\n[project]\nname = "hello"\n```\n\n```python src/hello.py\ndef main(): ...\n```\n{{x}}'
    )


def test_a_prompt_that_names_what_the_input_has_not_is_refused():
    with pytest.raises(Invalid, match="has no 'nothing'"):
        brief(task("build", prompt="{{input.nothing}}"), 100_000, letters)


def test_a_prompt_of_which_nothing_is_left_is_refused():
    skipped = {"plan": NodeRun("e", "plan", "skipped")}
    with pytest.raises(Invalid, match="is empty"):
        brief(msgspec.structs.replace(task("build", prompt=" {{nodes.plan.text}}"), runs=skipped), 100_000, letters)


def test_what_other_nodes_said_is_never_a_template():
    runs = {"plan": done("plan", "{{input.prompt}}")}
    own = msgspec.structs.replace(GRAPH.nodes[1], prompt="{{nodes.plan.text}}")
    assert words(brief(Task(own, GRAPH, raw(ASKED), runs, ()), 100_000, letters)) == "{{input.prompt}}"


def test_a_small_window_shares_itself_between_question_and_answer():
    made = brief(task("build"), 4096, letters)
    assert made.max_tokens == 2048
    assert brief(task("build", max_tokens=100), 4096, letters).max_tokens == 100
    assert brief(task("build", max_tokens=100), ROOMY_TOKENS, letters).max_tokens == 100
    assert brief(task("plan"), 8192, letters).max_tokens == 1500


def test_who_builds_keeps_the_plan_and_who_judges_keeps_the_files():
    long = File("long.py", "python", "x = 1\n" * 1000)
    runs = {**RUNS, "plan": done("plan", "step\n" * 1000)}
    build = brief(msgspec.structs.replace(task("build"), runs=runs, files=(long, DRAFT)), 4500, letters)
    assert "step\n" * 1000 in words(build) + "\n"
    assert build.note == "context cut: left out of The files so far: long.py."
    assert "Not shown here, but there: long.py" in words(build)
    review = brief(msgspec.structs.replace(task("review"), runs=runs, files=(long, DRAFT)), 4500, letters)
    assert long.content in words(review)
    assert review.note.startswith("context cut: of The plan (`plan`) only the first ")


def test_a_request_that_is_too_long_is_cut_and_its_requirements_are_not():
    made = brief(task("plan", asked={**ASKED, "prompt": "please\n" * 10_000}), 4000, letters)
    assert "speaks German" in words(made)
    assert "cut: only its beginning" in words(made)
    assert made.note.startswith("context cut: of The request only the first ")


def test_a_window_that_is_too_small_for_anything_is_said_to_be():
    for window in (0, 1, 64, 300):
        with pytest.raises(ContextExceeded):
            brief(task("build"), window, letters)


def test_a_repair_is_asked_with_the_findings_and_whole_files():
    made = repair(task("build"), (HELLO,), FOUND, 8000, letters)
    assert made.messages[0].content == REPAIR
    assert "line 2, column 5: Undefined name `x`" in words(made)
    assert parse(words(made)).files == (HELLO,)
    assert "speaks German" in words(made)
    assert made.max_tokens == 310
    assert repair(task("build", max_tokens=50), (HELLO,), FOUND, 100_000, letters).max_tokens == 50
    assert repair(task("build"), (HELLO,), FOUND, 100_000, letters).max_tokens is None
    with pytest.raises(ContextExceeded):
        repair(task("build"), (File("a.py", "", "x = 1\n" * 10_000),), FOUND, 8000, letters)


@pytest.mark.parametrize(
    ("asked", "prompt", "terms"),
    [
        ({}, "", ""),
        ([], "", ""),
        ({"prompt": " x "}, "x", ""),
        ({"prompt": {"a": 1}}, '{"a":1}', ""),
        ({"prompt": "x", "constraints": "one"}, "x", "Constraints:\n- one"),
        ({"prompt": "x", "complexity": "simple"}, "x", "Keep it small: one file if that does the job."),
        ({"topic": "birds", "n": 3, "none": None}, "", "Also given:\n- topic: birds\n- n: 3"),
    ],
)
def test_any_input_is_told(asked, prompt, terms):
    wanted = wanted_of(raw(asked))
    assert (wanted.prompt, wanted.terms) == (prompt, terms)


def test_prose_is_what_stands_outside_of_blocks():
    assert prose_of("a\n```python x.py\nb\n```\nc\n````\n```\nd\n````\ne\n```\nf") == "a\nc\ne"


COUNTERS = {
    "letters": letters,
    "bytes": lambda text: len(text.encode()),
    "words": lambda text: len(text.split()),
    # Joined texts have more than theirs together.
    "greedy": lambda text: -(-len(text) // 3) + text.count("\n\n") * 3,
    "lines": lambda text: 3 * text.count("\n") + len(text) // 8,
}
_text = st.text(st.sampled_from("ab c\n#`é"), max_size=60).map(lambda text: text * 20) | st.text(max_size=30)
_files = st.lists(
    st.builds(File, st.sampled_from([f"src/{name}.py" for name in "abcdef"]), st.just("python"), _text),
    max_size=6,
    unique_by=lambda file: file.path,
)


@given(
    st.sampled_from(["plan", "scaffold", "build", "validate", "review"]),
    st.integers(0, 6000),
    st.sampled_from(sorted(COUNTERS)),
    _text,
    st.lists(_text, max_size=3),
    _text,
    _files,
    st.none() | st.integers(1, 5000),
    st.sampled_from(["", "Do: {{nodes.plan.text}} {{input.prompt}}"]),
)
@example("build", 3000, "greedy", "\n\n" * 900, [], "\n\n" * 2000, [], None, "")
def test_no_prompt_ever_exceeds_its_window(kind, window, counter, prompt, terms, plan, files, most, own):
    count = COUNTERS[counter]
    runs = {id: run for id, run in RUNS.items() if id in task(kind).runs} | {"plan": done("plan", plan)}
    given_task = msgspec.structs.replace(
        task(kind, asked={"prompt": prompt, "requirements": terms}, max_tokens=most, prompt=own),
        runs=runs,
        files=tuple(files),
    )
    try:
        made = brief(given_task, window, count)
    except ContextExceeded:
        return
    assert made.max_tokens is not None
    assert sum(count(text_of(message.content)) for message in made.messages) + MARKS + made.max_tokens <= window
    if not made.note and not own:
        assert prompt.strip() in words(made)
        assert plan.strip() in words(made)
        assert all(file.content in words(made) for file in files)
    if made.note:
        assert made.note.startswith("context cut: ")


@given(st.text(), st.integers(-10, 200))
def test_a_text_cut_in_the_middle_keeps_its_ends(text, tokens):
    text = text * 10
    cut = middle_cut(text, tokens, len)
    assert cut == text or len(cut) <= max(tokens, 0)
    if cut and cut != text:
        begin, _, end = cut.partition("\n\n[… cut here")
        assert text.startswith(begin)
        assert text.endswith(end.partition("…]\n\n")[2])
