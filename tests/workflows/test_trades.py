"""The real trades keep what running a graph relies on."""

import asyncio

import msgspec
import pytest
from msgspec import Raw

from askonce.domain.executions import NodeRun
from askonce.domain.graph import Graph, Node
from askonce.wire.fences import File
from askonce.workflows.crafts import Crafts, Task
from askonce.workflows.files_of import raw_files
from askonce.workflows.quality.inspector import Inspector
from askonce.workflows.quality.report import Checked, make_report
from askonce.workflows.review.report import Review
from askonce.workflows.trades import Trades, likely_count

BUILD, QUALITY = Node("build", "build"), Node("quality", "quality", depends_on=("build",))
GRAPH = Graph((BUILD, QUALITY, Node("review", "review", depends_on=("quality",))))
WRONG = File("a.go", "go", "package main\nfunc main() {\n")


def trades() -> Crafts:
    return Trades(Inspector())


def task(*runs: NodeRun) -> Task:
    return Task(GRAPH.nodes[2], GRAPH, Raw(b'{"prompt": "x"}'), {run.node: run for run in runs}, (WRONG,))


@pytest.mark.process
def test_what_does_not_parse_is_sent_back_with_what_was_found():
    async def inspected() -> None:
        made = trades()
        inspection = await made.inspect((WRONG, File("b.go", "go", "package main\n")))
        assert (inspection.broken, inspection.score) == (("a.go",), 49)
        brief = made.repair(msgspec.structs.replace(task(), node=BUILD), (WRONG,), inspection, 8000)
        assert "a.go, line 2, column 13: `{` is never closed." in str(brief.messages[1].content)

    asyncio.run(inspected())


@pytest.mark.parametrize(
    ("said", "absent", "verdict", "note"),
    [
        ('{"verdict": "approve", "summary": "Fine.", "issues": []}', "", "approve", ""),
        ("I approve.", "", "absent", "No opinion: The reviewer's answer holds no JSON object with a verdict."),
        ("", "The provider is away.", "absent", "No opinion: The provider is away."),
        (
            '{"verdict": "approve", "summary": "Fine.", "issues": []}',
            "It was cut.",
            "absent",
            "No opinion: It was cut.",
        ),
    ],
)
def test_a_review_tells_changes_risk_and_opinion(said, absent, verdict, note):
    build = NodeRun("e", "build", "succeeded", files=raw_files([WRONG]))
    found = make_report((Checked("a.go", "go", "broken"),), ())
    quality = NodeRun("e", "quality", "succeeded", report=Raw(msgspec.json.encode(found)))
    reviewed = trades().review(task(build, quality), said, absent)
    review = msgspec.json.decode(reviewed.report, type=Review)
    assert (review.verdict, reviewed.note) == (verdict, note)
    assert [(change.node, change.path, change.kind) for change in review.changes] == [("build", "a.go", "added")]
    assert (review.risk.points, review.risk.reasons) == (15, ("Not right in their languages: a.go.",))


def test_tokens_are_counted_on_the_high_side():
    assert [likely_count(text) for text in ("", "a", "abcd", "é" * 3, "\ud800")] == [0, 1, 2, 2, 1]
