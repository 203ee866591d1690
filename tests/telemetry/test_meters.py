"""Processes count by themselves; whoever is scraped adds them up, and sums never fall."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from askonce.domain.durations import DURATIONS_US, quantile, spread
from askonce.domain.executions import Submission, Submitter
from askonce.domain.ledger import CallRow, Origin
from askonce.domain.watching import NO_COURSE, Course, Served, Worked
from askonce.telemetry import catalog
from askonce.telemetry.catalog import METRICS, SHOWN_US
from askonce.telemetry.exposition import expose
from askonce.telemetry.metering import NAMES_MAX, Metering, outcome_of
from askonce.telemetry.meters import MAX_SERIES, OTHER, Meters, merge, pack, unpack
from askonce.telemetry.percentiles import History, recent
from askonce.telemetry.shelf import STALE_NS, Shelf

HIT = Served("generate", 200, 250, "r-1", "", "hit", "openai", "gpt-4o", 1_000, 40)


def paid(model: str = "gpt-4o", **more: object) -> CallRow:
    row = CallRow(1, Origin("t"), "openai", model, "", "answered", True, True, cost_nano=1_262_500)
    return replace(row, prompt_tokens=57, completion_tokens=112, took_ms=812, first_token_ms=90, **more)


def watched(process: str = "gateway-0", known: bool = True) -> tuple[Meters, Metering]:
    meters = Meters(process)
    return meters, Metering(meters, lambda provider, model: known)


def page(*meters: Meters, accept: str = "") -> str:
    merged = merge([one.snapshot(1) for one in meters], [one.process for one in meters])
    return expose(merged, accept)[0].decode()


def test_a_hit_is_counted_by_door_outcome_and_cache_with_what_it_saved() -> None:
    meters, metering = watched()
    metering.served(HIT)
    metering.served(HIT)
    shown = page(meters)
    assert 'askonce_requests_total{cache="hit",door="generate",outcome="ok"} 2.0' in shown
    assert 'askonce_saved_nanodollars_total{kind="exact"} 2000.0' in shown
    assert 'askonce_request_duration_seconds_bucket{cache="hit",door="generate",le="0.0002"} 0.0' in shown
    assert 'askonce_request_duration_seconds_bucket{cache="hit",door="generate",le="0.0005"} 2.0' in shown
    assert 'askonce_request_duration_seconds_count{cache="hit",door="generate"} 2.0' in shown
    assert "askonce_store_duration_seconds_count 2.0" in shown


def test_work_in_the_background_is_counted_by_how_it_ended() -> None:
    meters, metering = watched()
    submission = Submission("e-1", "workflow", "workflows", "site", Raw(b"{}"), Submitter("who", "acme"), 1)
    metering.worked(Worked(submission, 1, "failed", 2, 3, "provider_error", "api", "generator"))
    metering.worked(Worked(submission, 1, "succeeded", 2, 3, "", "page", "generator"))
    metering.worked(Worked(submission, 1, "failed", 1, 3))
    shown = page(meters)
    assert 'askonce_executions_total{kind="workflow",status="failed"} 1.0' in shown
    assert 'askonce_nodes_total{status="failed",type="generator"} 1.0' in shown
    assert 'askonce_nodes_total{status="succeeded",type="generator"} 1.0' in shown


def test_a_paid_call_is_counted_with_its_tokens_money_and_stages() -> None:
    meters, metering = watched()
    metering.paid(paid(), Course(10, 20, 30, 90_030, 812_000, 813_000, followers=7))
    shown = page(meters)
    assert 'askonce_provider_calls_total{ending="answered",model="gpt-4o",provider="openai"} 1.0' in shown
    assert 'askonce_tokens_total{kind="completion",model="gpt-4o",provider="openai"} 112.0' in shown
    assert 'askonce_cost_nanodollars_total{model="gpt-4o",provider="openai"} 1.2625e+06' in shown
    assert 'askonce_flight_followers_bucket{le="5"} 0.0' in shown
    assert 'askonce_flight_followers_bucket{le="10"} 1.0' in shown
    assert 'askonce_time_to_first_token_seconds_sum{model="gpt-4o",provider="openai"} 0.09' in shown
    assert 'askonce_stage_duration_seconds_sum{stage="settlement"} 0.001' in shown


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (200, "", "ok"),
        (200, "provider_error", "server_error"),
        (400, "invalid_request", "client_error"),
        (401, "unauthorized", "unauthorized"),
        (404, "not_found", "not_found"),
        (429, "rate_limited", "rate_limited"),
        (429, "over_budget", "over_budget"),
        (499, "", "left"),
        (503, "provider_unavailable", "server_error"),
    ],
)
def test_outcomes(status: int, code: str, outcome: str) -> None:
    assert outcome_of(status, code) == outcome


def test_refusals_are_counted_by_their_codes_each_time() -> None:
    meters, metering = watched()
    for _ in range(3):
        metering.served(Served("generate", 429, 50, "r", "rate_limited"))
    assert 'askonce_refusals_total{code="rate_limited"} 3.0' in page(meters)


def test_names_that_nobody_knows_are_one_label_and_known_ones_are_bounded() -> None:
    meters, metering = watched(known=False)
    for number in range(1_000):
        metering.paid(paid(f"made-up-{number}"), NO_COURSE)
    assert set(merge([meters.snapshot(1)], []).family(catalog.COST)) == {("openai", OTHER)}
    meters, metering = watched(known=True)
    for number in range(NAMES_MAX + 50):
        metering.paid(paid(f"m-{number}"), NO_COURSE)
    assert len(merge([meters.snapshot(1)], []).family(catalog.COST)) == NAMES_MAX + 1


def test_no_metric_has_more_series_than_a_bound() -> None:
    meters = Meters("p")
    for number in range(MAX_SERIES + 10):
        meters.count(catalog.REQUESTS, f"door-{number}", "ok", "")
    family = merge([meters.snapshot(1)], []).family(catalog.REQUESTS)
    assert len(family) == MAX_SERIES + 1
    assert family[OTHER, OTHER, OTHER] == [10]


def test_processes_add_up_and_one_that_dies_goes_on_where_it_stopped(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "metrics")
    one, two = Meters("gateway-0"), Meters("gateway-1")
    one.count(catalog.DEFECTS, by=3)
    two.count(catalog.DEFECTS, by=4)
    shelf.put(one)
    shelf.put(two)
    successor = Meters("gateway-1")
    shelf.resume(successor)
    successor.count(catalog.DEFECTS)
    assert shelf.merged(successor).family(catalog.DEFECTS) == {(): [8]}


def test_gauges_of_the_dead_are_left_out_and_what_cannot_be_read_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(tmp_path)
    dead, living = Meters("gateway-1"), Meters("gateway-0")
    for meters in (dead, living):
        meters.gauge(catalog.IN_FLIGHT, 5, meters.process)
        meters.gauge(catalog.STORE_AWAY, False, meters.process)
    dead.count(catalog.DEFECTS)
    now_ns = STALE_NS
    monkeypatch.setattr("askonce.telemetry.shelf.time.monotonic_ns", lambda: now_ns)
    shelf.put(dead)
    now_ns = 3 * STALE_NS
    shelf.put(living)
    (tmp_path / "broken.meters").write_bytes(b"\xc1nothing")
    merged = shelf.merged(living)
    assert {labels for _, labels in merged.gauges} == {("gateway-0",)}
    assert shelf.merged(Meters("gateway-2")).gauges == merged.gauges, "what was written is read"
    assert merged.family(catalog.DEFECTS) == {(): [1]}


def test_another_versions_snapshot_is_used_as_far_as_it_is_the_same() -> None:
    meters = Meters("p")
    meters.count(catalog.DEFECTS)
    snapshot = meters.snapshot(1)
    snapshot.counted["askonce_gone"] = [((), [1])]
    snapshot.counted[catalog.STORE_TIME.name] = [((), [1, 2, 3])]  # other buckets
    successor = Meters("p")
    successor.resume(unpack(pack(snapshot)) or snapshot)
    assert set(merge([successor.snapshot(1)], []).counted) == {catalog.DEFECTS.name}
    assert unpack(b"") is None


def test_openmetrics_is_spoken_where_it_is_asked_for() -> None:
    body, media = expose(merge([Meters("p").snapshot(1)], []), "application/openmetrics-text; version=1.0.0")
    assert media.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


@given(st.lists(st.integers(1, 900_000_000), min_size=1, max_size=60), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_lies_in_the_bucket_of_the_true_one(values: list[int], share: float) -> None:
    meters = Meters("p")
    for value in values:
        meters.observe(catalog.STORE_TIME, value)
    (series,) = merge([meters.snapshot(1)], []).family(catalog.STORE_TIME).values()
    true = sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]
    upper = next(bound for bound in DURATIONS_US if bound >= true)
    lower = max((bound for bound in DURATIONS_US if bound < true), default=0)
    assert lower <= quantile(series, share) <= upper
    assert spread(series).count == len(values)


def test_the_last_minutes_are_told_apart_from_what_was_before() -> None:
    meters, history = Meters("p"), History()

    def look(at_minute: int) -> None:
        history.note(merge([meters.snapshot(1)], []), at_minute * 60_000)

    look(0)
    meters.observe(catalog.STORE_TIME, 100)
    look(10)
    for _ in range(3):
        meters.observe(catalog.STORE_TIME, 5_000)
    merged = merge([meters.snapshot(1)], [])
    assert spread(recent(merged, history.since(5, 15 * 60_000), catalog.STORE_TIME)[()]).count == 3
    assert spread(recent(merged, history.since(15, 15 * 60_000), catalog.STORE_TIME)[()]).count == 4
    assert recent(merged, history.since(1, 1 << 60), catalog.CALL_TIME) == {}


def test_what_was_never_seen_has_no_spread() -> None:
    assert spread([0] * catalog.STORE_TIME.width).p99_ms == 0.0


def test_names_are_unique_and_bounds_rise() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert list(DURATIONS_US) == sorted(set(DURATIONS_US))
    assert set(DURATIONS_US) >= SHOWN_US
