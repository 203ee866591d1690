"""The standard workflow, really: the embedded model plans and writes, parsers judge, and a second time is free."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.system.clients import Answered, request, request_now, run
from tests.system.houses import Build, House, eventually

pytestmark = [pytest.mark.process, pytest.mark.timeout(900)]
WISH = {"prompt": "a Python function that adds two numbers", "language": "python", "complexity": "simple"}
# The same nodes with answers that are cut short: what takes minutes is the model's writing.
SHORT = {
    "graph": {
        "nodes": [
            {"id": "plan", "type": "plan", "maxTokens": 24},
            {"id": "build", "type": "build", "maxTokens": 48, "dependsOn": ["plan"]},
            {"id": "quality", "type": "quality", "dependsOn": ["build"]},
        ]
    },
    "input": WISH,
}
ASKED = ("plan", "build")


def wish(house: House, told: dict[str, Any]) -> dict[str, Any]:
    """Have the workflow done, and return its execution."""
    body = json.dumps(told).encode()
    reply: Answered = run(
        request(house.port, "POST", "/llm/execute-workflow", body, {"Content-Type": "application/json"})
    )
    assert reply.status == 202, reply
    path = f"/llm/executions/{reply.json()['executionId']}"
    execution: dict[str, Any] = {}

    def ended() -> bool:
        execution.update(request_now(house.port, path).json())
        return execution["status"] not in ("queued", "running")

    eventually(ended, "the workflow ends", within_s=800)
    return execution


@pytest.mark.parametrize("told", [SHORT, pytest.param(WISH, marks=pytest.mark.soak)], ids=["short", "standard"])
def test_a_workflow_is_really_done_and_costs_nothing_the_second_time(
    build: Build, models_dir: Path, told: dict[str, Any]
) -> None:
    settings = f'local_model = "smollm2-135m"\nmodels_dir = "{models_dir}"\nlimit_llm = "off"\nlimit_standard = "off"'
    house = build(settings, playing="").start()
    eventually(lambda: house.ask("Say hello.", maxTokens=4).status == 200, "the model answers", within_s=120)

    first = wish(house, told)
    assert first["status"] == "succeeded", first
    nodes = {node["id"]: node for node in first["nodes"]}
    assert list(nodes) == ["plan", "build", "quality"]
    for name in ASKED:
        assert (nodes[name]["model"], nodes[name]["cache"]) == ("smollm2-135m", "miss")
        assert nodes[name]["text"].strip()
        assert nodes[name]["usage"]["completionTokens"] > 0
    # The model is a small one: what it wrote may be broken, and is then told as that.
    report, paths = nodes["quality"]["report"], {file["path"] for file in first["files"]}
    assert {file["path"] for file in report["files"]} == paths
    for finding in report["findings"]:
        assert finding["path"] in paths
        assert finding["line"] >= 1
        assert finding["rule"]
        assert finding["severity"] in ("error", "warning", "note")
    assert first["totals"]["cachedNodes"] == 0

    second = wish(house, told)
    assert second["status"] == "succeeded"
    assert {node["cache"] for node in second["nodes"] if node["id"] in ASKED} == {"hit"}
    assert [node["text"] for node in second["nodes"]] == [node["text"] for node in first["nodes"]]
    assert second["totals"]["cachedNodes"] == len(ASKED)
