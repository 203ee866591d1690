"""Lay out what a simulation found, for people and for programs."""

from collections.abc import Sequence
from typing import Any

import msgspec

from askonce.config.values import size_word, span_word
from askonce.domain.money import dollars
from askonce.simulation.reading import REORDERED, Reading
from askonce.simulation.replay import Outcome, Plan

SHOWN = 10  # unknown fields, at most
_COLUMNS = ("kept for", "room", "hits", "joined", "refused", "cost nothing", "paid", "saved", "room used", "evicted")


def table(found: Sequence[tuple[Plan, Outcome]]) -> str:
    """Return one line per plan, under a head."""
    rows = [_COLUMNS, *(_row(plan, outcome) for plan, outcome in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    return "\n".join("  ".join(word.rjust(width) for word, width in zip(row, widths, strict=True)) for row in rows)


def remarks(told: Reading, found: Sequence[tuple[Plan, Outcome]]) -> list[str]:
    """Say what the numbers rest on, and what they leave out."""
    said = []
    if told.refused:
        said.append(f"{told.refused} of {told.lines} lines are no requests and were left out:")
        said += [f"  {reason}" for reason in told.reasons]
    if told.timeless:
        said.append(f"{told.timeless} lines have no time: each was taken to come a second after the one before.")
    if told.backwards:
        said.append(
            f"{told.backwards} lines are earlier than {REORDERED:,} lines before them: they were taken to come later."
        )
    if told.failed:
        said.append(f"{told.failed} calls failed: nobody gets their answers.")
    if told.without_output:
        said.append(
            f"{told.without_output} lines do not say how long the answer was: only their prompts are in the costs."
        )
    if told.unpriced:
        said.append(f"{told.unpriced} requests are to models without a known price: they count as costing nothing.")
    if told.extra_fields:
        fields = ", ".join(f"{name} ({count})" for name, count in list(told.extra_fields.items())[:SHOWN])
        said.append(f"Unknown fields are part of the question, as they are for the server: {fields}.")
        said.append("Where your log wrote them and not your clients, leave them out with --ignore NAME.")
    outcome = found[0][1] if found else Outcome()
    if outcome.input_tokens and outcome.prompt_cached_tokens:
        share = 100 * outcome.prompt_cached_tokens / outcome.input_tokens
        said.append(
            f"Of the input that is still paid in the first line, the vendors' own prompt caches could know {share:.0f} "
            "% at best (five minutes, beginnings of 1,024 tokens or more); that is not in the savings."
        )
    return said


def as_json(told: Reading, found: Sequence[tuple[Plan, Outcome]]) -> bytes:
    """Return all of it as JSON: money in nano-dollars, rates in percent."""
    plans: list[dict[str, Any]] = [
        {
            "ttlSeconds": plan.ttl_s,
            "capacityBytes": plan.capacity_bytes,
            "limit": plan.limit,
            "hitRate": round(outcome.hit_rate, 4),
            **{_camel(name): value for name, value in msgspec.structs.asdict(outcome).items()},
        }
        for plan, outcome in found
    ]
    reading = {_camel(name): value for name, value in msgspec.structs.asdict(told).items()}
    return msgspec.json.format(msgspec.json.encode({"reading": reading, "plans": plans}), indent=2)


def _row(plan: Plan, outcome: Outcome) -> tuple[str, ...]:
    saved = outcome.saved_exact_nano + outcome.saved_coalesced_nano
    whole = saved + outcome.cost_nano
    share = f" ({100 * saved / whole:.1f} %)" if whole else ""
    return (
        span_word(plan.ttl_s),
        size_word(plan.capacity_bytes),
        f"{outcome.hits:,}",
        f"{outcome.coalesced:,}",
        f"{outcome.refused:,}",
        f"{outcome.hit_rate:.2f} %",
        dollars(outcome.cost_nano, 4),
        f"{dollars(saved, 4)}{share}",
        f"{outcome.peak_bytes / 1e6:,.1f} MB in {outcome.peak_entries:,}",
        f"{outcome.evicted:,}",
    )


def _camel(name: str) -> str:
    first, *more = name.split("_")
    return first + "".join(map(str.capitalize, more))
