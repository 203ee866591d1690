"""What the sealer and the watch promise."""

import asyncio
import logging
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from msgspec import Raw
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.ledger.auditworld import KEY, a_chain, act, seal, tamper, the_end, told
from tests.ledger.ledgerworld import Place, batch, call, rows_of
from tests.state.statefakes import HandClock

from askonce.domain.accounts import SecretChanged
from askonce.domain.ledger import Anchor
from askonce.ledger.audit import Sealer, Watch, claim_chain
from askonce.ledger.audit_chain import write_anchor
from askonce.ledger.audit_table import audit
from askonce.ledger.audit_verify import verify
from askonce.ledger.engine import writing
from askonce.ledger.migrate import context, migrate, revert
from askonce.ledger.schema import metadata, qualified
from askonce.ledger.writer import SqlLedger
from askonce.state.anchors import MemoryAnchors


def a_watch(engine: AsyncEngine, anchors: MemoryAnchors) -> Watch:
    return Watch(engine, [KEY], anchors, HandClock())


def test_the_steps_make_these_tables(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            found = await connection.run_sync(lambda it: compare_metadata(context(it), metadata))
        assert [each for each in found if "'audit" in str(each)] == []

    place.play(play)


def test_steps_go_down_and_up_again_on_a_filled_audit(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        for _ in range(2):
            await a_chain(engine)
            assert (await verify(engine, [KEY])).sound
            await revert(engine, "0002")
            await migrate(engine)

    place.play(play)


def test_rows_are_numbered_and_kept_in_their_order(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        await a_chain(engine, 3)
        await seal(engine, [])
        await seal(engine, [act(4), act(5)])
        rows = await rows_of(engine, audit)
        assert [(row["number"], row["subject"]) for row in rows] == [(n, f"key:{n}") for n in range(1, 6)]
        assert (rows[0]["at_ms"], rows[0]["details"]) == (act(1).at_ms, '{"name":"bär"}')

    place.play(play)


def test_batches_of_the_ledger_are_sealed_once_however_often_they_come(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        ledger = SqlLedger(engine, Sealer(KEY, HandClock()).seal_rows)
        one, two = batch(act(1), call(), act(2)), batch(act(2), call(), act(3), first=3)
        for each in (one, one, two, one, two):
            await ledger.apply(each)
        rows = await rows_of(engine, audit)
        assert [(row["number"], row["subject"]) for row in rows] == [(1, "key:1"), (2, "key:2"), (3, "key:3")]
        assert (await verify(engine, [KEY])).sound

    place.play(play)


def test_of_nodes_that_begin_at_once_with_several_secrets_one_begins_and_the_others_are_refused(place: Place) -> None:
    keys = [bytes([number]) * 32 for number in range(5)]

    async def play(engine: AsyncEngine) -> None:
        async def begin(key: bytes) -> bool:
            return await claim_chain(engine, Sealer(key, HandClock()), [key], act(1))

        outcomes = await asyncio.gather(*map(begin, keys), return_exceptions=True)
        assert [outcome for outcome in outcomes if not isinstance(outcome, SecretChanged)] == [True]
        (winner,) = [key for key, outcome in zip(keys, outcomes, strict=True) if outcome is True]
        assert not await begin(winner)
        assert not await claim_chain(engine, Sealer(KEY, HandClock()), [KEY, winner], act(1)), "the former one is known"
        report = await verify(engine, [winner])
        assert (report.sound, report.last and report.last.number) == (True, 1)

    place.play(play)


def test_what_is_not_kept_is_not_sealed(place: Place) -> None:
    async def undone(engine: AsyncEngine) -> None:
        async with writing(engine) as connection:
            await Sealer(KEY, HandClock()).seal_rows(connection, [act(4)])
            raise RuntimeError

    async def play(engine: AsyncEngine) -> None:
        await a_chain(engine, 3)
        with pytest.raises(RuntimeError):
            await undone(engine)
        await seal(engine, [act(5)])
        assert [row["subject"] for row in await rows_of(engine, audit)][3:] == ["key:5"]
        assert (await verify(engine, [KEY])).sound

    place.play(play)


def test_several_sealers_make_one_chain(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        async with asyncio.TaskGroup() as group:
            for worker in range(4):
                for number in range(5):
                    group.create_task(seal(engine, [act(number, actor=f"key:{worker}"), act(number)]))
        report = await verify(engine, [KEY])
        assert (report.sound, report.rows) == (True, 40)

    place.play(play)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE AUDIT SET actor = 'x' WHERE number = 2",
        "DELETE FROM AUDIT WHERE number = 2",
        "DELETE FROM AUDIT",
        "TRUNCATE AUDIT",
        "INSERT OR REPLACE INTO AUDIT SELECT * FROM AUDIT WHERE number = 2",
        "INSERT INTO AUDIT SELECT * FROM AUDIT WHERE number = 2",
    ],
)
def test_the_database_refuses_to_change_what_is_sealed(place: Place, statement: str) -> None:
    async def play(engine: AsyncEngine) -> None:
        await a_chain(engine, 3)
        with pytest.raises(DBAPIError):
            async with engine.begin() as connection:
                await connection.exec_driver_sql(statement.replace("AUDIT", qualified(connection.dialect, "audit")))
        assert (await verify(engine, [KEY])).rows == 3

    place.play(play)


ODD = [
    (b"{}", "{}"),
    (b'{ "a" : [1, 2.50],\n"b": "\\u0000" }', '{"a":[1,2.50],"b":"\\u0000"}'),
    (b"[1]", '{"text":"[1]"}'),
    (b"{broken", '{"text":"{broken"}'),
    (b"\xff\x00", '{"text":"\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"}'),
]


@pytest.mark.parametrize(("given", "kept"), ODD)
def test_details_are_kept_as_an_object_on_one_line(place: Place, given: bytes, kept: str) -> None:
    async def play(engine: AsyncEngine) -> None:
        await seal(engine, [act(1, details=Raw(given), subject="a\0b\ud800")])
        (row,) = await rows_of(engine, audit)
        assert (row["details"], row["subject"]) == (kept, "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}")
        assert (await verify(engine, [KEY])).sound

    place.play(play)


# What is done to the end of the chain between two batches; what the next batch says of it, and what the check does.
STRANGE: dict[str, tuple[str, str, list[tuple[str, int]]]] = {
    "the last row is deleted": (
        "DELETE FROM AUDIT WHERE number = 9",
        "its end was 9, and rows end at 8",
        [("missing", 9)],
    ),
    "the end is set back": ("UPDATE AUDIT_head SET number = 5", "its end was 5, and rows end at 9", []),
    "the end is deleted": ("DELETE FROM AUDIT_head", "was deleted; rows end at 9", []),
    "the end is forged": (
        "UPDATE AUDIT_head SET seal = (SELECT seal FROM AUDIT WHERE number = 2)",
        "rows end at 9 with another seal",
        [],
    ),
}


@pytest.mark.parametrize("case", STRANGE)
def test_a_strange_end_raises_the_alarm_and_sealing_goes_on(
    place: Place, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    statement, reason, findings = STRANGE[case]

    async def play(engine: AsyncEngine) -> None:
        await a_chain(engine)
        await tamper(engine, statement)
        await seal(engine, [act(10)])
        await seal(engine, [act(11)])
        async with engine.connect() as connection:
            wanted = select(audit.c.number, audit.c.action, audit.c.details).where(audit.c.number > 9)
            rows = (await connection.execute(wanted.order_by(audit.c.number))).all()
        assert [(row.number, row.action) for row in rows] == [
            (10, "audit.broken"),
            (11, "key.created"),
            (12, "key.created"),
        ]
        assert reason in rows[0].details
        assert told(await verify(engine, [KEY])) == findings

    place.play(play)
    assert any(reason in record.getMessage() and record.levelno == logging.CRITICAL for record in caplog.records)


def test_the_end_is_noted_in_shared_state_and_in_the_log(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "askonce.audit")

    async def play(engine: AsyncEngine) -> None:
        anchors = MemoryAnchors()
        watch = a_watch(engine, anchors)
        assert (await watch.round()).last is None
        assert await anchors.read() is None
        end = await a_chain(engine)
        for _ in range(2):
            assert (await watch.round()).sound
        assert await anchors.read() == Anchor(9, end.seal, HandClock().wall)
        said = [record.getMessage() for record in caplog.records]
        assert said.count(f"the audit ends at {write_anchor(end)}") == 1
        await seal(engine, [act(10)])
        assert (await watch.round()).rows == 2
        noted = await anchors.read()
        assert noted is not None
        assert noted.number == 10

    place.play(play)


@pytest.mark.parametrize(
    "statement", ["DELETE FROM AUDIT WHERE number > 7", "UPDATE AUDIT SET actor = 'x' WHERE number = 10"]
)
def test_a_noted_end_is_not_replaced_by_that_of_a_broken_chain(
    place: Place, statement: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(engine: AsyncEngine) -> None:
        anchors = MemoryAnchors()
        watch = a_watch(engine, anchors)
        await a_chain(engine)
        await watch.round()
        noted = await anchors.read()
        await seal(engine, [act(10)])
        await tamper(engine, statement)
        for _ in range(2):
            assert not (await watch.round()).sound
            assert await anchors.read() == noted
        assert await watch.accept() == noted
        assert (await anchors.read()) != noted

    place.play(play)
    assert any("broken" in record.getMessage() and record.levelno == logging.CRITICAL for record in caplog.records)


def test_after_a_restored_backup_was_accepted_the_watch_goes_on(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        anchors: Any = MemoryAnchors()
        watch = a_watch(engine, anchors)
        await a_chain(engine)
        await watch.round()
        await tamper(
            engine,
            "DELETE FROM AUDIT WHERE number > 7",
            "UPDATE AUDIT_head SET number = 7, seal = (SELECT seal FROM AUDIT WHERE number = 7)",
        )
        assert not (await watch.round()).sound
        await watch.accept()
        await seal(engine, [act(8)])
        assert (await watch.round()).sound
        assert (await anchors.read()).number == (await the_end(engine)).number == 8

    place.play(play)
