"""A collector is told of paid calls' tokens and durations by the conventions, with as many series as known models."""

from collections.abc import Iterator

import pytest
from tests.telemetry.otlpserver import OtlpServer

from askonce.domain.ledger import CallRow, Origin
from askonce.domain.watching import NO_COURSE
from askonce.telemetry.collector import Collector
from askonce.telemetry.genai_metrics import GenAiMetrics
from askonce.telemetry.naming import bounded

TOKENS, DURATION = "gen_ai.client.token.usage", "gen_ai.client.operation.duration"


@pytest.fixture
def collector() -> Iterator[OtlpServer]:
    with OtlpServer() as server:
        yield server


def metrics(endpoint: str) -> GenAiMetrics:
    to = Collector(endpoint, {"authorization": "Bearer x"}, 1.0, "askonce", "node-a", "gateway-0")
    return GenAiMetrics(to, bounded(lambda _, model: model == "gpt-4o", 10))


def row(model: str = "gpt-4o", **more: object) -> CallRow:
    values = {"prompt_tokens": 30, "completion_tokens": 200, "took_ms": 1500} | more
    origin = Origin("acme", request_id="r-1")
    return CallRow(1, origin, "openai", model, model, "answered", True, True, **values)  # type: ignore[arg-type]


def test_tokens_and_durations_are_told_by_the_conventions(collector: OtlpServer) -> None:
    told = metrics(collector.endpoint)
    told.paid(row(), NO_COURSE)
    told.paid(row(), NO_COURSE)
    told.paid(row(error_code="provider_error", completion_tokens=0, prompt_tokens=0, took_ms=20), NO_COURSE)
    told.close()
    points = {
        (one["name"], one.get("gen_ai.token.type", ""), one.get("error.type", "")): one for one in collector.histograms
    }
    failed = (DURATION, "", "provider_error")
    assert set(points) == {(TOKENS, "input", ""), (TOKENS, "output", ""), (DURATION, "", ""), failed}
    output, duration = points[TOKENS, "output", ""], points[DURATION, "", ""]
    assert (output["count"], output["sum"], output["unit"]) == (2, 400, "{token}")
    assert (duration["count"], duration["sum"], duration["unit"]) == (2, 3.0, "s")
    assert (output["bounds"][:4], output["bounds"][-1]) == ([1, 4, 16, 64], 67_108_864)
    assert (duration["bounds"][:3], duration["bounds"][-1]) == ([0.01, 0.02, 0.04], 81.92)
    assert (output["gen_ai.provider.name"], output["gen_ai.request.model"]) == ("openai", "gpt-4o")
    assert output["gen_ai.operation.name"] == "chat"
    assert collector.headers["authorization"] == "Bearer x"


def test_names_that_callers_make_up_are_one_series(collector: OtlpServer) -> None:
    told = metrics(collector.endpoint)
    for number in range(50):
        told.paid(row(f"made-up-{number}"), NO_COURSE)
    told.close()
    assert {one["gen_ai.request.model"] for one in collector.histograms} == {"other"}
    assert len(collector.histograms) == 3


def test_a_collector_that_is_away_stops_nobody() -> None:
    told = metrics("http://127.0.0.1:9")
    told.paid(row(), NO_COURSE)
    told.close()
