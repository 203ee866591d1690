"""What watches a server as it is run: /admin/performance and `askonce top` over all workers, a log file, Sentry."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.clients.backstage import KEY, stage
from tests.providers.upstream import answer
from tests.system.clients import post_now, request, request_now, run
from tests.system.houses import House, eventually
from tests.telemetry.otlpserver import OtlpServer
from tests.telemetry.sentryserver import SentryServer

pytestmark = pytest.mark.process


def top(*arguments: str) -> str:
    command = [sys.executable, "-m", "askonce", "top", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_times_and_top_over_all_workers_and_a_log_that_is_read_back(tmp_path: Path) -> None:
    settings = (
        'workers = 2\nlimit_llm = "off"\nlimit_standard = "off"\n'
        'log_file = "lines/askonce.log"\nlog_sample = 1.0\nslow_request = "1h"'
    )
    house = House(tmp_path, settings).start()
    try:
        for number in range(20):
            post_now(house.port, {"prompt": f"p{number % 5}"})

        def all_are_counted() -> bool:
            """Say whether each worker knows of all; a worker learns within a second what another has counted."""
            told = [json.loads(request_now(house.port, "/admin/performance?minutes=5").text) for _ in range(10)]
            counts = [
                {f"{one['door']} {one['cache']}": one["took"]["count"] for one in each["doors"]}
                | {one["provider"]: one["took"]["count"] for one in each["providers"]}
                for each in told
            ]
            return all(wanted.items() <= each.items() for each in counts)

        wanted = {"generate hit": 15, "generate miss": 5, "scripted": 5}
        eventually(all_are_counted, "all are counted")
        told = json.loads(request_now(house.port, "/admin/performance").text)
        assert [one["process"] for one in told["processes"]][:2] == ["gateway-0", "gateway-1"]
        assert {one["stage"] for one in told["stages"]} >= {"store", "admission", "dispatch", "settlement"}
        assert [(one["provider"], one["model"], one["took"]["count"]) for one in told["providers"]] == [
            ("scripted", "demo", 5)
        ]
        refused = request_now(house.port, "/admin/performance?minutes=61")
        assert (refused.status, "minutes" in refused.text) == (400, True)
        drawn = top("--once", "--url", house.url)
        assert "generate hit" in drawn
        assert "gateway-1" in drawn
        assert json.loads(top("--json", "--url", house.url))["stats"]["hits"] == 15
        log = tmp_path / "lines" / "askonce.log"
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert sum(line["event"] == "request" and line.get("cache") == "hit" for line in lines) == 15
        assert house.run_command("logs", str(log), "--event", "provider_call").count("provider_call") == 5
    finally:
        house.end()


BROKEN = """
import askonce.providers.scripted as scripted

async def ask(self, call, model, deadline_s):
    raise KeyError(call.messages[-1].content)
    yield

scripted.ScriptedProvider.ask = ask
"""


def test_sentry_hears_of_a_defect_in_a_running_gateway(tmp_path: Path) -> None:
    patched = tmp_path / "patched"
    patched.mkdir()
    (patched / "sitecustomize.py").write_text(BROKEN)  # read by every Python of the house
    with SentryServer() as sentry:
        env = {"SENTRY_DSN": sentry.dsn, "SENTRY_ENVIRONMENT": "tests", "PYTHONPATH": str(patched)}
        house = House(tmp_path, env=env).start()
        try:
            reply = post_now(house.port, {"prompt": "my diary"})
            eventually(lambda: sentry.events, "it is told")
        finally:
            house.end()
        assert reply.status == 500, reply.text
        assert b"my diary" not in b"".join(sentry.raw)
        assert [(event["environment"], event["tags"]["process"]) for event in sentry.events] == [("tests", "gateway-0")]
        assert sentry.events[0]["exception"]["values"][0]["type"] == "KeyError"


def test_sentry_hears_of_a_gateway_that_was_killed(tmp_path: Path) -> None:
    with SentryServer() as sentry:
        house = House(tmp_path, env={"SENTRY_DSN": sentry.dsn}).start()
        try:
            (gateway,) = house.workers()
            gateway.kill()
            eventually(lambda: sentry.events, "it is told")
            house.await_workers()
        finally:
            house.end()
        assert [event["message"] for event in sentry.events] == ["gateway 0 ended unexpectedly: SIGKILL"]


def telling(collector: OtlpServer) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_METRIC_EXPORT_INTERVAL": "300"}


def test_a_collector_is_told_of_a_request_from_its_caller_to_its_provider(tmp_path: Path) -> None:
    trace, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    with OtlpServer() as collector, stage(tmp_path, telling(collector)) as world:
        vendor = world.play(answer("Hello"), on="openai")
        body = {"prompt": "my diary", "model": "workshop:w-1"}
        sent = {"traceparent": f"00-{trace}-{caller}-01", "authorization": f"Bearer {KEY}"}
        assert post_now(world.house.port, body, sent).status == 200
        assert post_now(world.house.port, body, sent).status == 200

        def told(name: str = "") -> list[dict[str, Any]]:
            return [span for span in collector.spans if span["trace"] == trace and name in span["name"]]

        eventually(lambda: len(told()) == 6, "both are told")
        doors, (call,) = told("POST /llm/generate"), told("chat w-1")
        assert sorted(span["askonce.cache"] for span in doors) == ["hit", "miss"]
        assert {span["parent"] for span in doors} == {caller}
        assert call["parent"] in {span["id"] for span in doors}
        assert vendor.seen[0].headers["traceparent"] == f"00-{trace}-{call['id']}-01"
        eventually(lambda: collector.histograms, "tokens and durations are told")
        assert {one["gen_ai.provider.name"] for one in collector.histograms} == {"workshop"}
        assert {one["count"] for one in collector.histograms} == {1}
        assert b"my diary" not in b"".join(collector.raw)
        assert b"Hello" not in b"".join(collector.raw)


GRAPH = {
    "name": "site",
    "nodes": [
        {"id": "plan", "type": "build", "prompt": "my plan", "model": "workshop:w-1"},
        {
            "id": "page",
            "type": "build",
            "prompt": "{{nodes.plan.text}}",
            "model": "workshop:w-1",
            "dependsOn": ["plan"],
        },
    ],
}


def test_a_workflow_and_its_nodes_are_in_the_trace_of_who_submitted_it_and_words_if_wanted(tmp_path: Path) -> None:
    trace, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    env = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}
    with OtlpServer() as collector, stage(tmp_path, telling(collector) | env) as world:
        vendor = world.play(answer("First"), answer("Second"), on="openai")
        sent = {"traceparent": f"00-{trace}-{caller}-01", "authorization": f"Bearer {KEY}"}
        body = json.dumps({"graph": GRAPH}).encode()
        reply = run(request(world.house.port, "POST", "/llm/execute-workflow", body, sent))
        assert reply.status == 202, reply.text

        def told(name: str) -> list[dict[str, Any]]:
            return sorted((one for one in collector.spans if name in one["name"]), key=lambda one: one["start"])

        eventually(lambda: told("invoke_workflow") and len(told("chat ")) == 2, "all is told")
        (door,), (whole,), nodes, calls = (told(name) for name in ("POST", "invoke_workflow", "node ", "chat "))
        assert {span["trace"] for span in (door, whole, *nodes, *calls)} == {trace}
        assert (door["parent"], whole["parent"]) == (caller, door["id"])
        assert [node["askonce.node"] for node in nodes] == ["plan", "page"]
        assert {node["parent"] for node in nodes} == {whole["id"]}
        assert [call["parent"] for call in calls] == [node["id"] for node in nodes]
        assert [each.headers["traceparent"] for each in vendor.seen] == [f"00-{trace}-{one['id']}-01" for one in calls]
        assert "my plan" in calls[0]["gen_ai.input.messages"]
        assert "First" in calls[0]["gen_ai.output.messages"]
