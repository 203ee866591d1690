"""What nodes do by their type: write, inspect what others wrote and have it repaired, give an opinion of it."""

from typing import Any

import msgspec
import pytest
from tests.gate.gate_world import play
from tests.workflows.workflow_world import (
    COST_NANO,
    Paid,
    Reply,
    WorkflowWorld,
    asked_of,
    echo,
    entry_of,
    file_block,
    node,
)

from askonce.domain.errors import ContextExceeded, Invalid, ProviderFailed
from askonce.workflows.files_of import files_of


def files(world: WorkflowWorld, id: str) -> dict[str, str]:
    return {file.path: file.content for file in files_of(world.node(id))}


def report(world: WorkflowWorld, id: str) -> Any:
    return msgspec.json.decode(world.node(id).report)


def asked(world: WorkflowWorld) -> list[str]:
    return [asked_of(paid.call).partition("(")[0] for paid in world.road.paid]


@pytest.mark.parametrize("type", ["plan", "scaffold", "build", "validate"])
def test_a_node_that_writes_leaves_its_text_and_the_files_in_it(type):
    world = WorkflowWorld(lambda paid: "Here:\n" + file_block("src/a.py", "a = 1"))
    play(world.do(node("w"), node("x", "w", type=type)))
    assert files(world, "x") == {"src/a.py": "a = 1\n"}
    assert world.node("x").text.startswith("Here:")
    assert (world.node("x").provider, world.node("x").model, world.node("x").cache) == ("vendor", "m-1", "miss")


def test_files_that_are_refused_are_named_in_the_note():
    world = WorkflowWorld(lambda paid: file_block("../../etc/passwd", "root"))
    play(world.do(node("w")))
    assert files(world, "w") == {}
    assert "../../etc/passwd" in world.node("w").note


def test_quality_asks_nobody_where_everything_parses():
    world = WorkflowWorld(lambda paid: file_block("a.py", "fine"))
    play(world.do(node("w"), node("q", "w", type="quality")))
    assert asked(world) == ["w"]
    row = world.node("q")
    assert (row.status, row.score, row.cache, row.cost_nano, row.model) == ("succeeded", 100, "", 0, "")
    assert files(world, "q") == {}


def mended(paid: Paid) -> Reply:
    what = asked_of(paid.call)
    if what.startswith("repair of one"):
        return file_block("a.py", "fine now") + file_block("other.py", "not asked for")
    if what.startswith("repair of two"):
        return file_block("b.py", "still broken")
    path = "a.py" if what.startswith("one(") else "b.py"
    return file_block(path, "broken") + file_block("c.py", f"by {what[:3]}")


TWO = (node("one", model="m-2", temperature=0.5), node("two", "one"), node("q", "two", type="quality", model="m-9"))


def test_whoever_wrote_what_does_not_parse_is_asked_once_more_with_its_own_model_and_the_files_are_qualitys():
    world = WorkflowWorld(mended)
    ended = play(world.do(*TWO))
    assert [asked_of(paid.call) for paid in world.road.paid[2:]] == ["repair of one: a.py", "repair of two: b.py"]
    repair = world.road.paid[2]
    assert (repair.routing.model, repair.call.params.temperature) == ("m-2", 0.5)
    assert repair.name.startswith("e1/q/")
    assert files(world, "q") == {"a.py": "fine now\n", "b.py": "still broken\n"}
    assert world.node("q").note == "Repaired: a.py. These do not parse: b.py."
    assert (world.node("q").score, report(world, "q")) == (50, {"broken": ["b.py"]})
    assert (ended.status, world.node("q").cost_nano) == ("succeeded", 2 * COST_NANO)
    whole = {file["path"]: file["content"] for file in msgspec.json.decode(ended.result)["files"]}
    assert whole == {"a.py": "fine now\n", "c.py": "by two\n", "b.py": "still broken\n"}


def test_of_a_stored_and_a_paid_repair_the_paid_one_says_how_they_came():
    world = WorkflowWorld(mended)
    world.road.stored["repair of two: b.py"] = entry_of(file_block("b.py", "fine"), 0)
    play(world.do(*TWO))
    row = world.node("q")
    assert (row.cache, row.cost_nano, row.saved_nano) == ("miss", COST_NANO, COST_NANO)


def test_a_node_sees_what_it_depends_on_over_others_too_and_nothing_else(monkeypatch):
    world = WorkflowWorld(echo)
    seen: dict[str, list[str]] = {}
    brief = world.crafts.brief

    def watched(task, window):
        seen[task.node.id] = list(task.runs)
        return brief(task, window)

    monkeypatch.setattr(world.crafts, "brief", watched)
    play(world.do(node("a"), node("x"), node("b", "a"), node("c", "b"), node("d", "x", "c")))
    assert seen == {"a": [], "x": [], "b": ["a"], "c": ["a", "b"], "d": ["a", "x", "b", "c"]}


def test_a_repair_that_does_not_come_is_told_and_fails_nothing():
    world = WorkflowWorld(lambda p: Invalid("No.") if "repair" in asked_of(p.call) else file_block("a.py", "broken"))
    ended = play(world.do(node("w"), node("q", "w", type="quality"), node("x", "q")))
    assert ended.status == "succeeded"
    assert world.node("q").note == (
        "`w` was asked to repair its files, and did not answer: No. These do not parse: a.py."
    )
    assert report(world, "q") == {"broken": ["a.py"]}


def test_what_comes_after_quality_sees_the_repaired_files(monkeypatch):
    world = WorkflowWorld(mended)
    seen: dict[str, dict[str, str]] = {}
    brief = world.crafts.brief

    def watched(task, window):
        seen[task.node.id] = {file.path: file.content for file in task.files}
        return brief(task, window)

    monkeypatch.setattr(world.crafts, "brief", watched)
    play(world.do(*TWO, node("r", "q", type="review")))
    assert seen["r"]["a.py"] == "fine now\n"
    assert seen["two"] == {"a.py": "broken\n", "c.py": "by one\n"}


def test_a_review_is_its_report():
    world = WorkflowWorld(lambda paid: "approve" if asked_of(paid.call).startswith("r(") else "words")
    play(world.do(node("w"), node("r", "w", type="review")))
    assert report(world, "r") == {"verdict": "approve"}
    assert files(world, "r") == {}
    wanted = world.road.paid[1].call.params.format
    assert wanted is not None
    assert wanted.kind == "json"


def test_an_opinion_that_did_not_come_is_absent_and_never_approval():
    error = ProviderFailed("It broke.")
    world = WorkflowWorld(lambda paid: error if asked_of(paid.call).startswith("r(") else echo(paid))
    ended = play(world.do(node("w"), node("r", "w", type="review", retries=1)))
    assert (ended.status, world.node("r").status, world.node("r").attempts) == ("succeeded", "succeeded", 2)
    assert report(world, "r") == {"verdict": "absent", "reason": "It broke."}
    assert world.node("r").note == "No opinion: It broke."
    assert "No opinion came from `r`: It broke." in msgspec.json.decode(ended.result)["summary"]


def test_a_review_that_no_window_holds_is_absent_too(monkeypatch):
    world = WorkflowWorld(echo)
    brief = world.crafts.brief

    def small(task, window):
        if task.node.type == "review":
            raise ContextExceeded("Nothing fits.")
        return brief(task, window)

    monkeypatch.setattr(world.crafts, "brief", small)
    ended = play(world.do(node("w"), node("r", "w", type="review")))
    assert (ended.status, report(world, "r")) == ("succeeded", {"verdict": "absent", "reason": "Nothing fits."})


def test_answers_are_as_long_as_the_trade_says():
    world = WorkflowWorld(echo)
    play(world.do(node("a"), node("b", max_tokens=7)))
    assert sorted(paid.call.params.max_tokens or 0 for paid in world.road.paid) == [7, 1000]
