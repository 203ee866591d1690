"""What executions are told as: facts of their rows, and nothing else."""

import msgspec
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
    workflow,
)

from askonce.domain.errors import UnknownModel
from askonce.domain.executions import Execution, NodeRun
from askonce.workflows.result import execution_document, node_document, totals_of, whole_document
from askonce.workflows.run import graph_of

LINK = "/llm/executions/e1"


def script(paid: Paid) -> Reply:
    name = asked_of(paid.call).partition("(")[0]
    if name == "plan":
        return "The plan is to write it."
    if name == "build":
        return file_block("README.md", "# Read") + file_block("src/a.py", "a = 1")
    if name == "more":
        return file_block("src/a.py", "a = 2\nb = 3")
    return "changes"


GRAPH = (
    node("plan", type="plan"),
    node("build", "plan"),
    node("more", "build"),
    node("quality", "more", type="quality"),
    node("review", "quality", type="review"),
)


def done() -> tuple[WorkflowWorld, Execution]:
    world = WorkflowWorld(script)
    return world, play(world.do(*GRAPH))


def test_the_answer_of_a_workflow_has_the_contracts_fields():
    _, ended = done()
    told = msgspec.json.decode(ended.result)
    assert set(told) == {"code", "files", "summary", "metadata", "workflow"}
    assert told["code"] == "a = 2\nb = 3\n"
    assert [file["path"] for file in told["files"]] == ["README.md", "src/a.py"]
    assert told["metadata"] == {
        "totalTokens": 60,
        "totalCost": "$0.0000",
        "totalCostNano": 4 * COST_NANO,
        "executionTime": ended.ended_ms - ended.started_ms,
        "modelsUsed": ["vendor:m-1"],
        "cachedNodes": 0,
        "saved": "$0.0000",
        "savedNano": 0,
    }
    assert told["workflow"] == {"id": "e1", "name": "custom", "nodes": 5, "executionTime": 0}


def test_the_summary_counts_what_is_there():
    _, ended = done()
    summary = msgspec.json.decode(ended.result)["summary"]
    assert summary == "2 files written. `quality` scored 100 of 100. `review` says: changes."


def test_without_files_the_code_is_that_of_the_last_text():
    world = WorkflowWorld(lambda paid: f"```python\n{asked_of(paid.call)[0]} = 1\n```")
    ended = play(world.do(node("a"), node("b", "a"), node("r", "b", type="review")))
    told = msgspec.json.decode(ended.result)
    assert (told["code"], told["files"]) == ("b = 1\n", [])
    assert told["summary"].startswith("0 files written.")


def test_a_failure_that_was_seen_to_is_in_the_summary():
    world = WorkflowWorld(lambda p: UnknownModel("Who?") if asked_of(p.call).startswith("a(") else echo(p))
    seen_to = node("b", "a", when='nodes.a.status == "failed"')
    ended = play(world.do(node("a"), seen_to, node("c", "b", when='nodes.b.status == "failed"')))
    summary = msgspec.json.decode(ended.result)["summary"]
    assert summary == "0 files written. `a` failed: Who? `c` was skipped."


def test_a_document_tells_everything_that_is_in_the_rows():
    world, ended = done()
    document = whole_document(ended, graph_of(ended.submission), world.store.runs["e1"], LINK)
    told = msgspec.json.decode(msgspec.json.encode(document))
    assert (told["status"], told["progress"], told["round"]) == ("succeeded", 100, 1)
    assert told["links"] == {"self": LINK, "events": f"{LINK}/events", "cancel": LINK}
    assert told["totals"]["costNano"] == 4 * COST_NANO
    build = told["nodes"][1]
    assert (build["id"], build["type"], build["status"], build["attempts"]) == ("build", "build", "succeeded", 1)
    assert build["usage"] == {"promptTokens": 10, "completionTokens": 5, "totalTokens": 15}
    assert [file["path"] for file in build["files"]] == ["README.md", "src/a.py"]
    assert "error" not in build
    assert (told["nodes"][3]["score"], told["nodes"][3]["report"]) == (100, {"broken": []})
    assert told["history"]["src/a.py"] == [
        {"node": "build", "added": 1, "removed": 0},
        {"node": "more", "added": 2, "removed": 1},
    ]
    assert told["result"]["workflow"]["id"] == "e1"


def test_what_has_not_begun_waits_and_what_failed_says_why():
    failed = Execution(workflow(*GRAPH), "failed", error_code="timed_out", error="Too late.", wish="cancel")
    told = msgspec.json.decode(msgspec.json.encode(whole_document(failed, graph_of(failed.submission), {}, LINK)))
    assert {one["status"] for one in told["nodes"]} == {"waiting"}
    assert told["error"] == {"code": "timed_out", "message": "Too late."}
    assert "result" not in told
    assert "cancelling" not in told


def test_a_running_one_that_is_to_be_cancelled_says_so():
    running = Execution(workflow(*GRAPH), "running", wish="cancel")
    assert execution_document(running, LINK).cancelling is True


def test_what_a_node_noted_for_itself_while_it_runs_is_not_told():
    run = NodeRun("e1", "build", "running", report=msgspec.Raw(b'{"window":7}'))
    assert b"window" not in msgspec.json.encode(node_document(GRAPH[1], run))


def test_totals_add_nodes_up_and_count_those_that_cost_nothing():
    runs = [
        NodeRun("e1", "a", cache="hit", saved_nano=5),
        NodeRun("e1", "b", cache="coalesced", saved_nano=6),
        NodeRun("e1", "c", cache="resumed", cost_nano=7),
        NodeRun("e1", "d", cache="resumed", saved_nano=8),
        NodeRun("e1", "e", cache="miss", cost_nano=9, prompt_tokens=1, completion_tokens=2),
        NodeRun("e1", "f"),
    ]
    totals = totals_of(runs)
    assert (totals.cached_nodes, totals.saved_nano, totals.cost_nano) == (3, 19, 16)
    assert (totals.prompt_tokens, totals.completion_tokens) == (1, 2)


def test_what_was_spared_is_in_the_answer():
    world = WorkflowWorld(echo)
    world.road.stored["a()"] = entry_of("stored", 0)
    metadata = msgspec.json.decode(play(world.do(node("a"), node("b", "a"))).result)["metadata"]
    assert (metadata["cachedNodes"], metadata["savedNano"], metadata["totalCostNano"]) == (1, COST_NANO, COST_NANO)
