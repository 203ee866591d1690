"""What the check of the audit finds, attack by attack, and what it says that it cannot know."""

from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.ledger.auditworld import FORMER, KEY, a_chain, act, seal, tamper, the_end, told
from tests.ledger.ledgerworld import Place

from askonce.domain.ledger import Anchor
from askonce.ledger.audit_verify import verify

COLUMNS = "at_ms, actor, action, subject, tenant, address, request_id, severity, details, key, previous, seal"

# What is done to a chain of nine rows behind everybody's back, and what is told of it.
ATTACKS: dict[str, tuple[tuple[str, ...], list[tuple[str, int]]]] = {
    "a time is edited": (("UPDATE AUDIT SET at_ms = at_ms + 1 WHERE number = 4",), [("edited", 4)]),
    "an actor is edited": (("UPDATE AUDIT SET actor = 'key:k2' WHERE number = 4",), [("edited", 4)]),
    "an action is edited": (("UPDATE AUDIT SET action = 'key.revoked' WHERE number = 4",), [("edited", 4)]),
    "a subject is edited": (("UPDATE AUDIT SET subject = '' WHERE number = 4",), [("edited", 4)]),
    "a tenant is edited": (("UPDATE AUDIT SET tenant = 'other' WHERE number = 4",), [("edited", 4)]),
    "an address is edited": (("UPDATE AUDIT SET address = '192.0.2.2' WHERE number = 4",), [("edited", 4)]),
    "a request is edited": (("UPDATE AUDIT SET request_id = 'r5' WHERE number = 4",), [("edited", 4)]),
    "a severity is edited": (("UPDATE AUDIT SET severity = 'critical' WHERE number = 4",), [("edited", 4)]),
    "details are edited": (("UPDATE AUDIT SET details = '{}' WHERE number = 4",), [("edited", 4)]),
    "text moves between fields": (
        ("UPDATE AUDIT SET tenant = 'acme192.0.2.1', address = '' WHERE number = 4",),
        [("edited", 4)],
    ),
    "a key's name is edited": (("UPDATE AUDIT SET key = '00000000' WHERE number = 4",), [("unknown_key", 4)]),
    "a seal is edited": (
        ("UPDATE AUDIT SET seal = (SELECT seal FROM AUDIT WHERE number = 3) WHERE number = 4",),
        [("edited", 4), ("unlinked", 5)],
    ),
    "a link is edited": (
        ("UPDATE AUDIT SET previous = (SELECT seal FROM AUDIT WHERE number = 7) WHERE number = 4",),
        [("edited", 4), ("unlinked", 4)],
    ),
    "the first row is deleted": (("DELETE FROM AUDIT WHERE number = 1",), [("missing", 1)]),
    "a row is deleted": (("DELETE FROM AUDIT WHERE number = 4",), [("missing", 4)]),
    "rows are deleted": (("DELETE FROM AUDIT WHERE number BETWEEN 4 AND 6",), [("missing", 4)]),
    "the last row is deleted": (("DELETE FROM AUDIT WHERE number = 9",), [("tail_missing", 9)]),
    "the tail is deleted, and the end with it": (
        (
            "DELETE FROM AUDIT WHERE number > 5",
            "UPDATE AUDIT_head SET number = 5, seal = (SELECT seal FROM AUDIT WHERE number = 5)",
        ),
        [("tail_missing", 6)],
    ),
    "everything is deleted": (("DELETE FROM AUDIT", "DELETE FROM AUDIT_head"), [("tail_missing", 1)]),
    "a row is deleted and the others close ranks": (
        ("DELETE FROM AUDIT WHERE number = 7", "UPDATE AUDIT SET number = 7 WHERE number = 8"),
        [("moved", 7), ("unlinked", 7), ("missing", 8)],
    ),
    "two rows change places": (
        (
            "UPDATE AUDIT SET number = 100 WHERE number = 4",
            "UPDATE AUDIT SET number = 4 WHERE number = 5",
            "UPDATE AUDIT SET number = 5 WHERE number = 100",
        ),
        [("moved", 4), ("unlinked", 4), ("moved", 5), ("unlinked", 5), ("unlinked", 6)],
    ),
    "two rows change their contents": (
        (
            "UPDATE AUDIT SET subject = 'x' WHERE subject = 'key:4'",
            "UPDATE AUDIT SET subject = 'key:4' WHERE subject = 'key:5'",
            "UPDATE AUDIT SET subject = 'key:5' WHERE subject = 'x'",
        ),
        [("edited", 4), ("edited", 5)],
    ),
    "a row is made up at the end": (
        (f"INSERT INTO AUDIT SELECT 10, {COLUMNS} FROM AUDIT WHERE number = 9",),
        [("moved", 10), ("unlinked", 10)],
    ),
    "an old row is put in far behind": (
        (f"INSERT INTO AUDIT SELECT 12, {COLUMNS} FROM AUDIT WHERE number = 2",),
        [("missing", 10), ("moved", 12)],
    ),
}


TWICE = {
    "sqlite": (
        "CREATE TABLE copied AS SELECT * FROM AUDIT",
        "DROP TABLE AUDIT",
        "ALTER TABLE copied RENAME TO audit",
        "INSERT INTO AUDIT SELECT * FROM AUDIT WHERE number = 4",
    ),
    "postgresql": (
        "ALTER TABLE AUDIT DROP CONSTRAINT pk_audit",
        "INSERT INTO AUDIT SELECT * FROM AUDIT WHERE number = 4",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_attack_is_found_and_named(place: Place, attack: str) -> None:
    statements, findings = ATTACKS[attack]

    async def play(engine: AsyncEngine) -> None:
        end = await a_chain(engine)
        await tamper(engine, *statements)
        report = await verify(engine, [KEY], [end])
        assert told(report) == findings
        assert not report.sound
        assert report.wrong == len(findings)

    place.play(play)


def test_a_number_that_comes_twice_is_found_where_even_the_primary_key_was_removed(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        end = await a_chain(engine)
        await tamper(engine, *TWICE[engine.dialect.name])
        report = await verify(engine, [KEY], [end])
        assert ("duplicated", 4) in told(report)

    place.play(play)


def test_a_chain_that_was_forged_anew_behind_a_noted_end_is_found_by_the_note(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        end = await a_chain(engine)
        await tamper(engine, "DELETE FROM AUDIT", "DELETE FROM AUDIT_head")
        await seal(engine, [act(number, actor="nobody") for number in range(1, 12)])  # with the true key
        assert (await verify(engine, [KEY])).sound
        assert told(await verify(engine, [KEY], [end])) == [("replaced", 9)]

    place.play(play)


def test_two_notes_that_contradict_each_other_are_told(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        end = await a_chain(engine)
        report = await verify(engine, [KEY], [Anchor(9, b"x" * 32), end])
        assert told(report) == [("replaced", 9)]

    place.play(play)


def test_an_untouched_chain_is_sound_and_the_check_says_what_it_cannot_know(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        end = await a_chain(engine)
        for anchors, doubt in (
            ([], "No end was ever noted"),
            ([end], "after number 9"),
            ([Anchor(9, end.seal), Anchor(3, (await _seal_of(engine, 3)))], "after number 9"),
            ([Anchor(3, (await _seal_of(engine, 3)))], "Behind number 3"),
        ):
            report = await verify(engine, [KEY], anchors)
            assert report.sound, report.findings
            assert (report.rows, report.first, end.number) == (9, 1, 9)
            assert any(doubt in each for each in report.unproven), report.unproven
            assert any("ASKONCE_SECRET" in each for each in report.unproven)

    place.play(play)


async def _seal_of(engine: AsyncEngine, number: int) -> bytes:
    async with engine.connect() as connection:
        from_table = (await connection.exec_driver_sql(_named(engine, number))).scalar_one()
    assert isinstance(from_table, bytes)
    return from_table


def _named(engine: AsyncEngine, number: int) -> str:
    schema = "askonce." if engine.dialect.name == "postgresql" else ""
    return f"SELECT seal FROM {schema}audit WHERE number = {number}"


def test_a_check_from_a_noted_end_on_reads_only_what_came_later(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        end = await a_chain(engine)
        await seal(engine, [act(10), act(11)])
        report = await verify(engine, [KEY], [end], since=end)
        assert (report.sound, report.first, report.rows) == (True, 9, 3)
        assert any("before the first" in each for each in report.unproven)
        await tamper(engine, "UPDATE AUDIT SET actor = 'x' WHERE number IN (2, 10)")
        assert told(await verify(engine, [KEY], [end], since=end)) == [("edited", 10)]
        await tamper(engine, "DELETE FROM AUDIT WHERE number >= 9")
        assert told(await verify(engine, [KEY], [end], since=end)) == [("tail_missing", 9)]

    place.play(play)


def test_rows_of_a_former_key_are_checked_with_it_and_only_with_it(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        await a_chain(engine, 3, FORMER)
        await seal(engine, [act(4)])
        assert (await verify(engine, [KEY, FORMER])).sound
        assert told(await verify(engine, [KEY])) == [("unknown_key", number) for number in (1, 2, 3)]
        await seal(engine, [act(5)], FORMER)
        report = await verify(engine, [KEY, FORMER])
        assert report.sound
        assert any("number 5 on a former key" in each for each in report.unproven)

    place.play(play)


def test_a_chain_that_is_broken_throughout_is_told_in_bounded_words(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        await a_chain(engine, 150)
        await tamper(engine, "UPDATE AUDIT SET actor = 'x'")
        report = await verify(engine, [KEY])
        assert (len(report.findings), report.wrong) == (100, 150)

    place.play(play)


def test_an_empty_audit_is_sound(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        report = await verify(engine, [KEY])
        assert (report.sound, report.last, report.rows) == (True, None, 0)

    place.play(play)


def test_locks_that_are_gone_or_off_are_told(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        async with engine.begin() as connection:
            await connection.exec_driver_sql(
                "ALTER TABLE askonce.audit DISABLE TRIGGER audit_no_change"
                if engine.dialect.name == "postgresql"
                else "DROP TRIGGER audit_no_delete"
            )
        report = await verify(engine, [KEY])
        assert told(report) == [("unlocked", 0)]

    place.play(play)


def test_what_is_not_even_of_the_right_type_is_told_as_edited(tmp_path: Any) -> None:
    async def play(engine: AsyncEngine) -> None:
        await a_chain(engine)
        await tamper(
            engine,
            "UPDATE AUDIT SET at_ms = 'noon' WHERE number = 2",
            "UPDATE AUDIT SET seal = 'none', details = x'ff00' WHERE number = 4",
        )
        assert told(await verify(engine, [KEY])) == [("edited", 2), ("edited", 4), ("unlinked", 5)]

    Place("", tmp_path).play(play)  # PostgreSQL takes no such value


def test_the_end_that_was_read_is_the_last_rows(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        await a_chain(engine)
        assert (await the_end(engine)).seal == await _seal_of(engine, 9)

    place.play(play)
