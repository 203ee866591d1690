"""Files merge by path in the graph's order, and it is kept who wrote what."""

import difflib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.domain.executions import NodeRun
from askonce.domain.graph import Graph, Node
from askonce.wire.fence_paths import vet
from askonce.wire.fences import File, parse
from askonce.workflows import merging
from askonce.workflows.files_of import raw_files
from askonce.workflows.graph import order_of
from askonce.workflows.merging import Change, changed_lines, history, merged

GRAPH = Graph((Node("late", "build", depends_on=("early",)), Node("early", "scaffold"), Node("none", "build")))


def run(node: str, **files: str) -> NodeRun:
    return NodeRun("e", node, "succeeded", files=raw_files(File(path, "text", files[path]) for path in files))


def test_later_nodes_replace_what_earlier_ones_wrote_and_nothing_goes() -> None:
    runs = {"late": run("late", b="B\n", c="c\n"), "early": run("early", a="a\n", b="b\n")}
    assert merged(GRAPH, runs) == (File("a", "text", "a\n"), File("b", "text", "B\n"), File("c", "text", "c\n"))
    assert history(GRAPH, runs) == {
        "a": (Change("early", 1, 0),),
        "b": (Change("early", 1, 0), Change("late", 1, 1)),
        "c": (Change("late", 1, 0),),
    }


def test_a_node_that_wrote_a_file_as_it_was_is_among_its_writers() -> None:
    runs = {"late": run("late", a="a\n"), "early": run("early", a="a\n")}
    assert history(GRAPH, runs) == {"a": (Change("early", 1, 0), Change("late", 0, 0))}
    assert merged(GRAPH, {}) == ()
    assert history(GRAPH, {}) == {}


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("", "", (0, 0)),
        ("", "a", (1, 0)),
        ("", "a\n", (1, 0)),
        ("a\n", "", (0, 1)),
        ("a\nb\nc\n", "a\nB\nc\n", (1, 1)),
        ("a\nb\n", "b\na\n", (1, 1)),
        ("a\na\na\n", "a\na\n", (0, 1)),
        ("a", "a\n", (0, 0)),
        ("a\n\n", "a\n", (0, 1)),
        ("a\x0cb\u2028c\n", "a\x0cb\u2028d\n", (1, 1)),
    ],
)
def test_lines_are_counted_as_a_diff_does(before: str, after: str, changed: tuple[int, int]) -> None:
    assert changed_lines(before, after) == changed


LINES = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=12)


@given(LINES, LINES)
def test_what_is_counted_leads_from_one_to_the_other(before: list[str], after: list[str]) -> None:
    added, removed = changed_lines("".join(f"{one}\n" for one in before), "".join(f"{one}\n" for one in after))
    assert len(before) - removed + added == len(after)
    assert 0 <= removed <= len(before)
    diff = list(difflib.unified_diff(before, after, lineterm="", n=0))[2:]
    assert added <= max(len(after), sum(line.startswith("+") for line in diff))
    assert (added, removed) == (0, 0) or before != after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x\n" * 50_000, "y\n" + "x\n" * 49_000 + "z\n"),
        ("".join(f"{at}\n" for at in range(50_000)), "".join(f"{at}\n" for at in reversed(range(50_000)))),
        ("".join(f"{at}\nx\n" for at in range(20_000)), "".join(f"{at}\ny\n" for at in range(20_000))),
    ],
)
def test_large_files_are_counted_in_little_time(before: str, after: str) -> None:
    began = time.process_time()
    added, removed = changed_lines(before, after)
    assert time.process_time() - began < 2
    assert before.count("\n") - removed + added == after.count("\n")


def test_many_files_of_many_nodes_are_aligned_only_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    aligned: list[int] = []

    class Counting(difflib.SequenceMatcher[str]):
        def __init__(self, junk: None, old: list[str], new: list[str], **how: bool) -> None:
            aligned.append(len(old) * len(new))
            super().__init__(junk, old, new, **how)

    monkeypatch.setattr("askonce.workflows.merging.difflib.SequenceMatcher", Counting)
    nodes = tuple(Node(f"n{at}", "build", depends_on=(f"n{at - 1}",) if at else ()) for at in range(50))
    body = "x\n" * 100
    runs = {
        node.id: run(node.id, **{f"f{number}": f"{at}\n{body}{at}\n" for number in range(20)})
        for at, node in enumerate(nodes)
    }
    told = history(Graph(nodes), runs)
    assert 0 < sum(aligned) <= 2 * merging.MAX_PAIRS_IN_ALL
    # What is not aligned any more is still counted, by what the lines are.
    assert told["f19"][-1] == Change("n49", 2, 2)
    assert {len(changes) for changes in told.values()} == {50}


FILES = st.dictionaries(st.sampled_from("pqr"), st.sampled_from(["", "1\n", "2\n"]), max_size=3)


@given(st.lists(FILES, min_size=1, max_size=6), st.data())
def test_only_the_order_of_the_graph_decides(made: list[dict[str, str]], data: st.DataObject) -> None:
    nodes = tuple(
        Node(f"n{at}", "build", depends_on=(f"n{at - 1}",) if at and data.draw(st.booleans()) else ())
        for at in range(len(made))
    )
    graph = Graph(tuple(data.draw(st.permutations(nodes))))
    runs = {f"n{at}": run(f"n{at}", **files) for at, files in enumerate(made)}
    shuffled = {id: runs[id] for id in data.draw(st.permutations(list(runs)))}
    assert merged(graph, shuffled) == merged(graph, runs)
    assert history(graph, shuffled) == history(graph, runs)
    order = [node.id for node in order_of(graph)]
    for file in merged(graph, runs):
        writers = [id for id in order if file.path in made[int(id[1:])]]
        assert file.content == made[int(writers[-1][1:])][file.path]
        assert [change.node for change in history(graph, runs)[file.path]] == writers


@given(st.lists(st.sampled_from(["```py a.py", "```", "x", "``` ../b", "```c /etc/c.c", "`d/e.js`:"]), max_size=12))
def test_paths_are_those_that_are_let_in(answer: list[str]) -> None:
    graph = Graph((Node("a", "build"),))
    runs = {"a": NodeRun("e", "a", "succeeded", files=raw_files(parse("\n".join(answer)).files))}
    assert all(vet(file.path) == file.path for file in merged(graph, runs))
