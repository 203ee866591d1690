"""What happened lately, at one look: the document behind the dashboard's first page."""

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, Struct

from askonce.api.bodies import Body
from askonce.api.resources import advice, hit_rate
from askonce.domain.durations import Spread
from askonce.domain.reports import Figures, Latency, Overview

MONTH_MS = 30 * 86_400_000
ENOUGH_MS = 50 * 60_000  # of traffic, from which on a month is told in advance


class OverviewQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Ask for the latest time of a length."""

    range: Annotated[
        Literal["15m", "1h", "6h", "24h", "7d", "30d", "90d", "1y"], Meta(description="how far back; UTC")
    ] = "24h"
    tenant: Annotated[str, Meta(max_length=64, description="of which tenant; root sees all without it")] = ""


class Sums(Body, frozen=True):
    """Hold sums of a time. `limited`: rate limits and budgets; `refused`: all other refusals."""

    hits: int
    coalesced: int
    resumed: int
    misses: int
    uncounted: int
    failed: int
    abandoned: int
    limited: int
    refused: int
    cost_nano: int
    saved_nano: int
    saved_exact_nano: int
    saved_coalesced_nano: int
    saved_resumed_nano: int
    saved_prompt_cache_nano: int


class Point(Sums, frozen=True):
    """Hold one step, which begins at `atMs` (epoch milliseconds)."""

    at_ms: int


class Total(Sums, frozen=True):
    """Hold the sums of a whole range; `hitRate` in per cent of hits and misses."""

    requests: int
    hit_rate: float


class LatencyView(Body, frozen=True):
    """Hold how long answers from the store took, paid calls, and these until their first token."""

    hit: Spread
    miss: Spread
    first_token: Spread


class ModelView(Body, frozen=True):
    """Hold what one model did."""

    provider: str
    model: str
    requests: int
    cost_nano: int
    saved_nano: int


class OverviewView(Body, frozen=True):
    """Answer with a range in steps, zeros where nothing was. `before` is the time before it, null where nothing was.

    `projectedMonthlySavingNano`: what is saved in 30 days that are like the time since the range's first traffic; null
    where that is less than 50 minutes. `models`: the ten that cost and saved most. Of one tenant, latencies
    and models of a day and less are those of whole hours.
    """

    range: str
    start_ms: int
    end_ms: int
    step_ms: int
    points: list[Point]
    total: Total
    before: Total | None
    latency: LatencyView
    latency_before: LatencyView | None
    projected_monthly_saving_nano: int | None
    advice: str
    models: list[ModelView]


def overview_view(name: str, told: Overview, now_ms: int) -> OverviewView:
    """Show an overview that was read at `now_ms`."""
    total = _total(told.total)
    return OverviewView(
        name,
        told.start_ms,
        told.end_ms,
        told.step_ms,
        list(_points(told)),
        total,
        None if told.before is None else _total(told.before),
        _latency(told.latency),
        None if told.latency_before is None else _latency(told.latency_before),
        _projected(told, now_ms),
        advice(total.hits + total.misses, total.hit_rate),
        [
            ModelView(one.provider, one.model, sums.requests, sums.cost_nano, sums.saved_nano)
            for one in told.models
            for sums in (one.figures,)
        ],
    )


def _points(told: Overview) -> Iterator[Point]:
    there = {moment.at_ms: moment.figures for moment in told.moments}
    nothing = Figures()
    for at_ms in range(told.start_ms, told.end_ms, told.step_ms):
        yield Point(**_sums(there.get(at_ms, nothing)), at_ms=at_ms)


def _sums(figures: Figures) -> dict[str, int]:
    added = {
        "limited": figures.rate_limited + figures.over_budget,
        "refused": figures.unauthorized + figures.forbidden + figures.refused,
    }
    return {name: added[name] if name in added else getattr(figures, name) for name in Sums.__struct_fields__}


def _total(figures: Figures) -> Total:
    rate = hit_rate(figures.hits, figures.misses)
    return Total(**_sums(figures), requests=figures.requests, hit_rate=rate)


def _latency(told: Latency) -> LatencyView:
    return LatencyView(told.hit, told.miss, told.first_token)


def _projected(told: Overview, now_ms: int) -> int | None:
    seen_ms = now_ms - told.first_ms
    if not told.first_ms or seen_ms < ENOUGH_MS:
        return None
    return (told.total.saved_nano + told.total.saved_prompt_cache_nano) * MONTH_MS // seen_ms
