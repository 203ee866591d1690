"""Sums, grouped and narrowed, against what a plain walk over the rows gives."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.ledger.ledgerworld import DAY, NOON, Place, batch, call, call_rows, clear, count, count_rows, no_audit

from askonce.domain.errors import Invalid
from askonce.domain.ledger import CallRow, CountRow, Record
from askonce.domain.reports import Figures, Narrow, UsageQuestion
from askonce.ledger import reports
from askonce.ledger.cubes import DAY_MS, HOUR_MS, month_of
from askonce.ledger.reports import SqlReports
from askonce.ledger.spans import whole_hours
from askonce.ledger.writer import SqlLedger

START, END = NOON - 60 * DAY, NOON + 60 * DAY
GROUPS = ("hour", "day", "month", "tenant", "key", "door", "provider", "model")


def facts(record: Record) -> dict[str, Any]:
    """Say of a row what one can group and narrow by."""
    assert isinstance(record, CallRow | CountRow)
    origin = record.origin if isinstance(record, CallRow) else record
    at_ms = record.at_ms if isinstance(record, CallRow) else record.minute * 60_000
    return {
        "at_ms": at_ms,
        "hour": at_ms - at_ms % HOUR_MS,
        "day": at_ms - at_ms % DAY_MS,
        "month": month_of(at_ms),
        "tenant": origin.tenant,
        "key": origin.key_id,
        "key_id": origin.key_id,
        "door": origin.door,
        "provider": record.provider,
        "model": record.model,
    }


def add(figures: Figures, record: Record) -> None:
    """Add one row, as the contract of figures says."""
    if isinstance(record, CountRow):
        name = {"exact": "hits"}.get(record.kind, record.kind)
        setattr(figures, name, getattr(figures, name) + record.count)
        figures.saved_tokens += record.saved_tokens
        if record.kind in ("exact", "coalesced", "resumed"):
            saved = f"saved_{record.kind}_nano"
            setattr(figures, saved, getattr(figures, saved) + record.saved_nano)
        return
    assert isinstance(record, CallRow)
    name = record.ending if record.ending != "answered" else "misses" if record.counted else "uncounted"
    setattr(figures, name, getattr(figures, name) + 1)
    for field in (
        "cost_nano", "saved_prompt_cache_nano", "prompt_tokens", "completion_tokens", "cached_tokens",
        "cache_write_tokens", "reasoning_tokens", "estimated", "took_ms", "first_token_ms",
    ):  # fmt: skip
        setattr(figures, field, getattr(figures, field) + int(getattr(record, field)))
    figures.first_tokens += record.first_token_ms > 0
    figures.unpriced += not record.priced


def expected(rows: Sequence[Record], question: UsageQuestion) -> dict[tuple[Any, ...], Figures]:
    start, end = whole_hours(question.start_ms, question.end_ms)
    found: dict[tuple[Any, ...], Figures] = {}
    for row in rows:
        known = facts(row)
        narrow = [(name, getattr(question.narrow, name)) for name in Narrow.__struct_fields__]
        if start <= known["at_ms"] < end and all(value in (None, known[name]) for name, value in narrow):
            add(found.setdefault(tuple(known[group] for group in question.by), Figures()), row)
    return found


_words = st.sampled_from([None, None, None, "", "a"])
narrows = st.builds(Narrow, tenant=_words, key_id=_words, door=_words, provider=_words, model=_words)
groupings = st.tuples(
    st.sampled_from([(), ("hour",), ("day",), ("month",)]), st.lists(st.sampled_from(GROUPS[3:]), unique=True)
).map(lambda parts: (*parts[0], *parts[1]))
moments = st.integers(NOON - 50 * DAY, NOON + 50 * DAY)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_question_gets_what_the_rows_say(place: Place, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.one_of(call_rows, count_rows), min_size=1, max_size=25))
    questions = []
    for _ in range(6):
        start, end = sorted((data.draw(moments), data.draw(moments)))
        questions.append(UsageQuestion(start, end, data.draw(groupings), data.draw(narrows)))
    source = f"s{data.draw(st.integers(0, 2**60))}"

    async def act(engine):
        await clear(engine)
        await SqlLedger(engine, no_audit).apply(batch(*rows, source=source))
        for question in questions:
            report = await SqlReports(engine).usage(question)
            wanted = expected(rows, question)
            names = ["at_ms" if group in GROUPS[:3] else {"key": "key_id"}.get(group, group) for group in question.by]
            got = [(tuple(getattr(row, name) for name in names), row.figures) for row in report.rows]
            assert got == (sorted(wanted.items()) if question.by else [])
            total = expected(rows, UsageQuestion(question.start_ms, question.end_ms, (), question.narrow))
            assert report.total == total.get((), Figures())

    place.play(act)


def test_refusals_are_no_requests_and_failures_are(place: Place) -> None:
    paid = call(), call(NOON + 1, ending="failed")
    others = count(number=3), count(kind="rate_limited", number=9)

    async def act(engine):
        await SqlLedger(engine, no_audit).apply(batch(*paid, *others))
        total = (await SqlReports(engine).usage(UsageQuestion(START, END))).total
        assert (total.requests, total.paid, total.hits, total.rate_limited) == (5, 2, 3, 9)

    place.play(act)


def test_a_report_that_is_too_long_is_cut_and_its_total_is_whole(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "ROWS_MAX", 3)
    rows = [call(NOON + number, model=f"m{number}", cost_nano=1) for number in range(5)]

    async def act(engine):
        await SqlLedger(engine, no_audit).apply(batch(*rows))
        report = await SqlReports(engine).usage(UsageQuestion(START, END, by=("model",)))
        assert [row.model for row in report.rows] == ["m0", "m1", "m2"]
        assert report.cut
        assert report.total.cost_nano == 5

    place.play(act)


@pytest.mark.parametrize(
    "question",
    [
        UsageQuestion(NOON, NOON - 1),
        UsageQuestion(-1, NOON),
        UsageQuestion(0, 1 << 62),
        UsageQuestion(START, END, by=("day", "month")),
        UsageQuestion(START, END, by=("model", "model")),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(place: Place, question: UsageQuestion) -> None:
    async def act(engine):
        with pytest.raises(Invalid):
            await SqlReports(engine).usage(question)

    place.play(act)
