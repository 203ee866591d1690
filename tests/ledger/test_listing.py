"""Requests one by one, newest first."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.ledger.ledgerworld import DAY, NOON, Place, batch, call, clear, no_audit, records

from askonce.domain.errors import Invalid
from askonce.domain.ledger import CallRow, Origin, Record, SampleRow
from askonce.domain.reports import Kind, Narrow, RequestQuestion, RequestRow
from askonce.ledger.cubes import paid_kind
from askonce.ledger.reports import SqlReports
from askonce.ledger.writer import SqlLedger


def known(record: CallRow | SampleRow) -> dict[str, Any]:
    """Say of a row what one can ask for."""
    origin = record.origin
    return {
        "at_ms": record.at_ms,
        "tenant": origin.tenant,
        "key_id": origin.key_id,
        "door": origin.door,
        "request_id": origin.request_id,
        "provider": record.provider,
        "model": record.model,
        "kind": paid_kind(record) if isinstance(record, CallRow) else record.kind,
        "error_code": record.error_code if isinstance(record, CallRow) else "",
    }


def expected(rows: list[Record], question: RequestQuestion) -> list[dict[str, Any]]:
    found = []
    for number, row in enumerate(rows):
        if not isinstance(row, CallRow | SampleRow):
            continue
        facts = known(row)
        narrow = {name: getattr(question.narrow, name) for name in Narrow.__struct_fields__}
        if (
            question.start_ms <= row.at_ms < question.end_ms
            and all(value in (None, facts[name]) for name, value in narrow.items())
            and (not question.kinds or facts["kind"] in question.kinds)
            and question.request_id in ("", facts["request_id"])
            and question.error_code in ("", facts["error_code"])
        ):
            found.append((row.at_ms, number, facts))
    return [facts for _, _, facts in sorted(found, key=lambda item: item[:2], reverse=True)]


async def read_all(reports: SqlReports, question: RequestQuestion) -> list[RequestRow]:
    """Read page after page."""
    found: list[RequestRow] = []
    while True:
        page = await reports.requests(question)
        assert len(page.items) <= question.size
        assert page.items or not page.after
        found += page.items
        if not page.after:
            return found
        fields = {name: getattr(question, name) for name in RequestQuestion.__struct_fields__}
        question = RequestQuestion(**{**fields, "after": page.after})


_words = st.sampled_from([None, None, None, "", "a"])
narrows = st.builds(Narrow, tenant=_words, key_id=_words, door=_words, provider=_words, model=_words)
_KINDS: tuple[Kind, ...] = ("answered", "uncounted", "failed", "abandoned", "exact", "coalesced")
kinds = st.lists(st.sampled_from(_KINDS), unique=True, max_size=3).map(lambda some: tuple(some))
moments = st.integers(NOON - 50 * DAY, NOON + 50 * DAY)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_pages_together_hold_exactly_what_was_asked_for(place: Place, data: st.DataObject) -> None:
    rows = data.draw(st.lists(records, min_size=1, max_size=30))
    questions = []
    for _ in range(6):
        start, end = sorted((data.draw(moments), data.draw(moments)))
        word = st.sampled_from(["", "", "", "a"])
        questions.append(
            RequestQuestion(
                data.draw(narrows), data.draw(kinds), data.draw(word), data.draw(word), start, end,
                size=data.draw(st.integers(1, 7)),
            )
        )  # fmt: skip

    async def act(engine):
        await clear(engine)
        await SqlLedger(engine, no_audit).apply(batch(*rows))
        for question in [RequestQuestion(), *questions]:
            wanted = expected(rows, question)
            found = await read_all(SqlReports(engine), question)
            assert [{name: getattr(row, name) for name in facts} for row, facts in zip(found, wanted, strict=True)] == (
                wanted
            )

    place.play(act)


def test_a_row_says_all_that_is_known_of_it(place: Place) -> None:
    sample = SampleRow(NOON + 1, Origin("acme", "k", "u", "d", "r", "t"), "p", "m", "exact", saved_nano=7, took_ms=8)

    async def act(engine):
        await SqlLedger(engine, no_audit).apply(batch(call(estimated=True, first_token_ms=9), sample))
        spared, paid = (await SqlReports(engine).requests(RequestQuestion())).items
        assert spared == RequestRow(
            NOON + 1, "acme", "k", "u", "d", "r", "t", "p", "m", "exact", 8, saved_nano=7, id=spared.id
        )
        assert spared.id
        assert (paid.stored, paid.estimated, paid.first_token_ms, paid.cost_nano) == (True, True, 9, 1_262_500)

    place.play(act)


def test_what_comes_in_between_two_pages_shifts_nothing(place: Place) -> None:
    async def act(engine):
        ledger, reports = SqlLedger(engine, no_audit), SqlReports(engine)
        await ledger.apply(batch(*(call(NOON + number, request_id=f"{number}") for number in range(4))))
        first = await reports.requests(RequestQuestion(size=2))
        await ledger.apply(batch(call(NOON + 9, request_id="new"), first=5))
        second = await reports.requests(RequestQuestion(size=2, after=first.after))
        assert [row.request_id for row in (*first.items, *second.items)] == ["3", "2", "1", "0"]
        assert second.after == ""

    place.play(act)


@pytest.mark.parametrize("after", ["x", "!!!!", "AAAA", "gqFh", "ä"])
def test_a_cursor_that_is_not_ours_is_refused(place: Place, after: str) -> None:
    async def act(engine):
        with pytest.raises(Invalid, match="cursor"):
            await SqlReports(engine).requests(RequestQuestion(after=after))

    place.play(act)
