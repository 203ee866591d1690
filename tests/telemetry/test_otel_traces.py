"""A collector is told of one trace per request: the road's stages, each call to a provider, work in the background."""

import json
import logging
from collections.abc import Iterator

import pytest
from msgspec import Raw
from msgspec.structs import replace
from tests.telemetry.otlpserver import OtlpServer

from askonce.domain.answer import Answer
from askonce.domain.call import Call, Message, Params
from askonce.domain.executions import Submission, Submitter
from askonce.domain.ledger import CallRow, Origin
from askonce.domain.tracing import is_sampled, server_span_id, trace_id, work_span_id
from askonce.domain.usage import Usage
from askonce.domain.watching import Course, Served, Worked
from askonce.telemetry.collector import Collector
from askonce.telemetry.traces import Tracing

ROUTES = {"generate": ("POST", "/llm/generate")}
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"
SERVER, CLIENT = 2, 3  # SpanKind in OTLP


@pytest.fixture
def collector() -> Iterator[OtlpServer]:
    with OtlpServer() as server:
        yield server


def tracing(collector: OtlpServer, *, content: bool = False) -> Tracing:
    to = Collector(collector.endpoint, {"authorization": "Bearer x"}, 1.0, "askonce", "node-a", "gateway-0")
    return Tracing(to, ROUTES, content=content)


def served(traceparent: str = "", **more: object) -> Served:
    values = {"code": "", "cache": "miss", "provider": "openai", "model": "gpt-4o", "tenant": "acme"} | more
    return Served("generate", 200, 813_500, "r-1", traceparent=traceparent, **values)  # type: ignore[arg-type]


CALL = Call("acme", (Message("system", "Be brief."), Message("user", "my diary")), Params())
ANSWER = Answer("Dear diary", "tool_calls", Usage(1, 2), "openai", "gpt-4o", "gpt-4o-2024")


def paid(tracer: Tracing, traceparent: str = "", ending: str = "answered", span: str = "", call: Call = CALL) -> Course:
    sent = tracer.out("r-1", traceparent, "")
    course = Course(100, 300, 400, 90_400, 812_400, 813_000, 0, 1, traceparent, span, sent, call, ANSWER)
    origin = Origin("acme", door="generate", request_id="r-1")
    row = CallRow(1, origin, "openai", "gpt-4o", "gpt-4o-2024", ending, True, True, 5)  # type: ignore[arg-type]
    tracer.paid(row, course)
    return course


def test_one_trace_per_request_below_the_callers_span(collector: OtlpServer) -> None:
    tracer = tracing(collector)
    course = paid(tracer, SAMPLED)
    tracer.served(served(SAMPLED))
    tracer.close()
    spans = {span["name"]: span for span in collector.spans}
    assert set(spans) == {"admission", "boarding", "chat gpt-4o", "settlement", "POST /llm/generate"}
    assert {span["trace"] for span in spans.values()} == {TRACE}
    door, call = spans["POST /llm/generate"], spans["chat gpt-4o"]
    assert (door["parent"], door["kind"], door["http.route"]) == (CALLER, SERVER, "/llm/generate")
    assert {span["parent"] for name, span in spans.items() if span is not door} == {door["id"]}
    assert (call["kind"], call["id"]) == (CLIENT, course.sent[36:52]), "the provider was sent this span"
    assert call["gen_ai.response.model"] == "gpt-4o-2024"
    assert call["events"] == ["first_token"]
    assert (call["end"] - call["start"]) // 1000 == 812_000
    assert all(door["start"] - 1_000_000 <= span["start"] <= span["end"] for span in spans.values())
    assert collector.resources[0]["service.name"] == "askonce"
    assert collector.resources[0]["service.instance.id"] == "node-a/gateway-0"
    assert collector.headers["authorization"] == "Bearer x"


def test_a_request_without_a_context_gets_a_trace_of_its_own(collector: OtlpServer) -> None:
    tracer = tracing(collector)
    paid(tracer)
    tracer.served(served())
    tracer.close()
    assert {span["trace"] for span in collector.spans} == {trace_id("r-1", "")}
    (door,) = [span for span in collector.spans if span["kind"] == SERVER]
    assert (door["id"], door["parent"]) == (server_span_id("r-1"), "")


def test_who_does_not_record_is_not_recorded_and_says_so_onwards(collector: OtlpServer) -> None:
    tracer = tracing(collector)
    course = paid(tracer, UNSAMPLED)
    tracer.served(served(UNSAMPLED))
    tracer.close()
    assert collector.raw == []
    assert course.sent.startswith(f"00-{TRACE}-")
    assert course.sent.endswith("-00")


def test_the_share_is_that_of_all_and_the_same_for_everyone() -> None:
    traces = [trace_id(f"r-{number}", "") for number in range(10_000)]
    kept = [trace for trace in traces if is_sampled("", trace, 0.1)]
    assert 850 < len(kept) < 1150
    assert all(is_sampled("", trace, 0.5) for trace in kept), "a larger share holds the smaller one"
    assert not any(is_sampled("", trace, 0.0) for trace in traces)
    assert all(is_sampled("", trace, 1.0) for trace in traces)


def test_what_failed_is_marked(collector: OtlpServer) -> None:
    tracer = tracing(collector)
    paid(tracer, ending="failed")
    tracer.served(served(code="provider_error"))
    tracer.close()
    failed = {span["name"]: span["failed"] for span in collector.spans}
    assert failed["chat gpt-4o"]
    assert failed["POST /llm/generate"]
    assert not failed["settlement"]


def worked(traceparent: str = "", node: str = "", status: str = "succeeded", **more: object) -> Worked:
    submission = Submission(
        "e-1",
        "workflow",
        "workflows",
        "site",
        Raw(b"{}"),
        Submitter("who", "acme"),
        1,
        request_id="r-1",
        traceparent=traceparent,
    )
    values = {"type": "generator" if node else "", "cost_nano": 1_262_500} | more
    return Worked(submission, 2, status, 1_000, 3_500, node=node, **values)  # type: ignore[arg-type]


def test_work_stands_below_its_request_nodes_below_it_and_calls_below_them(collector: OtlpServer) -> None:
    tracer = tracing(collector)
    paid(tracer, SAMPLED, span=work_span_id("e-1", 2, "api"))
    tracer.worked(worked(SAMPLED, "api", model="gpt-4o", attempts=2, cache="miss"))
    tracer.worked(worked(SAMPLED, status="failed", code="provider_error"))
    tracer.close()
    spans = {span["name"]: span for span in collector.spans}
    whole, node, call = spans["invoke_workflow site"], spans["node generator"], spans["chat gpt-4o"]
    assert {span["trace"] for span in spans.values()} == {TRACE}
    assert (whole["parent"], whole["id"]) == (server_span_id("r-1"), work_span_id("e-1", 2))
    assert (node["parent"], call["parent"], spans["admission"]["parent"]) == (whole["id"], node["id"], node["id"])
    assert (whole["start"], whole["end"]) == (1_000_000_000, 3_500_000_000)
    assert (whole["gen_ai.operation.name"], whole["gen_ai.workflow.name"]) == ("invoke_workflow", "site")
    assert (whole["failed"], whole["error.type"], whole["askonce.round"]) == (True, "provider_error", 2)
    assert (node["failed"], node["askonce.node"], node["askonce.attempts"]) == (False, "api", 2)
    assert node["askonce.cost_nanodollars"] == 1_262_500


def test_of_work_nothing_is_told_that_is_not_recorded_or_never_began(collector: OtlpServer) -> None:
    tracer = tracing(collector)
    tracer.worked(worked(UNSAMPLED))
    tracer.worked(replace(worked(SAMPLED), began_ms=0))
    tracer.close()
    assert collector.raw == []


def test_words_are_told_only_where_that_is_switched_on(collector: OtlpServer) -> None:
    for content in (False, True):
        tracer = tracing(collector, content=content)
        paid(tracer)
        tracer.close()
    silent, told = (span for span in collector.spans if span["name"] == "chat gpt-4o")
    assert "diary" not in json.dumps({name: str(value) for name, value in silent.items()})
    assert json.loads(told["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "my diary"}]}
    ]
    assert json.loads(told["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be brief."}]
    assert json.loads(told["gen_ai.output.messages"])[0]["finish_reason"] == "tool_call"
    assert silent["gen_ai.response.finish_reasons"].values[0].string_value == "tool_call"


def test_vectors_are_an_operation_of_their_own(collector: OtlpServer) -> None:
    tracer = tracing(collector, content=True)
    paid(tracer, call=replace(CALL, kind="embedding"))
    tracer.close()
    (call,) = [span for span in collector.spans if span["kind"] == CLIENT]
    assert (call["name"], call["gen_ai.operation.name"]) == ("embeddings gpt-4o", "embeddings")
    assert "gen_ai.output.messages" not in call


def test_a_collector_that_is_away_stops_nobody_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    to = Collector("http://127.0.0.1:9", {}, 1.0, "askonce", "node-a", "gateway-0")
    with caplog.at_level(logging.INFO):
        tracer = Tracing(to, ROUTES)
        for _ in range(2):
            tracer.served(served())
            tracer._processor.force_flush(5_000)
        tracer.close()
    said = [record.getMessage() for record in caplog.records if record.name.startswith(("askonce", "opentelemetry"))]
    assert len([line for line in said if "takes no traces" in line]) == len(said) == 1
