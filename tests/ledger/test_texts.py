"""What was asked and answered: kept where the owner wants it, found by the request's id, gone when it is old."""

from sqlalchemy.ext.asyncio import AsyncEngine
from tests.ledger.ledgerworld import DAY, NOON, Place, batch, no_audit, rows_of

from askonce.domain.ledger import Origin, TextRow, pack_record, unpack_record
from askonce.domain.reports import Told
from askonce.ledger import tables
from askonce.ledger.reports import SqlReports
from askonce.ledger.retention import Ages, sweep
from askonce.ledger.writer import SqlLedger


def text(at_ms: int = NOON, request_id: str = "r1", tenant: str = "acme", answer: str = '["hi"]') -> TextRow:
    return TextRow(at_ms, Origin(tenant, request_id=request_id), "openai", "gpt-4o", '["hello"]', answer)


def test_a_text_is_found_by_its_request_and_only_by_its_tenant(place: Place) -> None:
    async def act(engine: AsyncEngine) -> None:
        ledger, reports = SqlLedger(engine, no_audit), SqlReports(engine)
        rows = batch(text(), text(NOON + 1, answer="two\x00 \N{SNOWMAN}"), text(request_id="r2"))
        await ledger.apply(rows)
        await ledger.apply(rows)
        told = Told(NOON, "openai", "gpt-4o", '["hello"]', '["hi"]', False, "acme")
        first, second = await reports.texts("r1", "acme")
        assert first == told
        assert second.answer.startswith("two")
        assert await reports.texts("r1", None) == (first, second)
        assert await reports.texts("r1", "rival") == ()

    place.play(act)


def test_texts_go_by_their_own_age(place: Place) -> None:
    async def act(engine: AsyncEngine) -> None:
        now_ms = NOON + 100 * DAY
        limit = now_ms - 7 * DAY
        await SqlLedger(engine, no_audit).apply(batch(text(limit - 1), text(limit)))
        assert await sweep(engine, Ages(), now_ms) == 1
        assert [row["at_ms"] for row in await rows_of(engine, tables.texts)] == [limit]
        assert await sweep(engine, Ages(texts=0), now_ms + 1_000 * DAY) == 0

    place.play(act)


def test_a_text_survives_its_packing() -> None:
    assert unpack_record(pack_record(text())) == text()
