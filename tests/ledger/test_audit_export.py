"""What an export promises to who has nothing else."""

import json
from collections.abc import Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.ledger.auditworld import FORMER, KEY, a_chain, act, seal, told
from tests.ledger.ledgerworld import Place

from askonce.domain.ledger import Anchor
from askonce.ledger.audit_export import export, verify_export

Lines = list[bytes]


async def exported(engine: AsyncEngine, first: int = 1, last: int = 2**63 - 1) -> Lines:
    return [line async for line in export(engine, KEY, 1_767_268_800_000, first, last)]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """Have an export of nine rows."""

    async def play(engine: AsyncEngine) -> Lines:
        await a_chain(engine)
        return await exported(engine)

    return Place("", tmp_path_factory.mktemp("export")).play(play)


def edited(line: bytes, **changes: object) -> bytes:
    return json.dumps({**json.loads(line), **changes}, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def test_an_export_has_a_line_for_each_row_and_is_sound_by_itself(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        end = await a_chain(engine)
        lines = await exported(engine)
        assert len(lines) == 11
        assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
        assert json.loads(lines[1])["details"] == {"name": "bär"}
        report = verify_export(lines, [KEY], [end])
        assert (report.sound, report.first, report.rows) == (True, 1, 9)
        assert report.last is not None
        assert report.last.seal == end.seal
        assert any("after the export" in doubt for doubt in report.unproven)

    place.play(play)


def test_a_part_of_the_chain_is_sound_and_says_that_it_is_a_part(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        await a_chain(engine)
        report = verify_export(await exported(engine, 4, 6), [KEY])
        assert (report.sound, report.first, report.rows) == (True, 4, 3)
        assert any("before the first" in doubt for doubt in report.unproven)

    place.play(play)


def test_an_empty_export_is_sound(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        assert verify_export(await exported(engine), [KEY]).sound

    place.play(play)


def test_a_line_that_another_program_wrote_anew_is_still_sound(lines: Lines) -> None:
    assert verify_export([lines[0], *(edited(line) for line in lines[1:])], [KEY]).sound


def test_an_export_of_a_former_key_is_checked_with_it(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        await a_chain(engine, 2, FORMER)
        await seal(engine, [act(3)])
        assert verify_export(await exported(engine), [KEY, FORMER]).sound
        assert told(verify_export(await exported(engine), [FORMER])) == [("unknown_key", 3), ("truncated", 3)]

    place.play(play)


ATTACKS: dict[str, tuple[Callable[[Lines], Lines], list[tuple[str, int]]]] = {
    "a row is edited": (lambda it: [*it[:4], edited(it[4], actor="x"), *it[5:]], [("edited", 4)]),
    "details are edited": (lambda it: [*it[:4], edited(it[4], details={}), *it[5:]], [("edited", 4)]),
    "a row is left out": (lambda it: [*it[:4], *it[5:]], [("missing", 4), ("truncated", 9)]),
    "the first row is left out": (lambda it: [it[0], *it[2:]], [("truncated", 9)]),
    "the last row is left out": (lambda it: [*it[:-2], it[-1]], [("truncated", 9)]),
    "the end is cut off": (lambda it: it[:-1], [("truncated", 9)]),
    "the tail is cut off": (lambda it: it[:-4], [("truncated", 6)]),
    "the tail is cut off and the end forged": (
        lambda it: [*it[:-4], edited(it[-1], last=6, rows=6, seal=json.loads(it[6])["seal"])],
        [("truncated", 6)],
    ),
    "two rows change places": (
        lambda it: [*it[:4], it[5], it[4], *it[6:]],
        [("missing", 4), ("disordered", 4)],
    ),
    "a row comes twice": (lambda it: [*it[:5], it[4], *it[5:]], [("duplicated", 4), ("truncated", 9)]),
    "a line is no line": (lambda it: [*it[:4], b"hello\n", *it[4:]], [("malformed", 5)]),
    "a line lacks a field": (lambda it: [*it[:4], b'{"number":4}\n', *it[4:]], [("malformed", 5)]),
    "a seal is no seal": (
        lambda it: [*it[:4], edited(it[4], seal="xy"), *it[5:]],
        [("malformed", 5), ("missing", 4), ("truncated", 9)],
    ),
    "a line is endless": (lambda it: [*it[:4], b" " * (2 << 20), *it[4:]], [("malformed", 5)]),
    "something follows the end": (lambda it: [*it, it[4]], [("malformed", 12)]),
    "the first line is another": (lambda it: [b'{"askonceAudit":2,"exportedMs":1}\n', *it[1:]], [("malformed", 1)]),
    "there is nothing": (lambda it: [], [("truncated", 0)]),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_attack_on_a_file_is_found_and_named(lines: Lines, attack: str) -> None:
    change, findings = ATTACKS[attack]
    report = verify_export(change(lines), [KEY])
    assert sorted(told(report)) == sorted(findings)


def test_an_export_that_ends_before_a_noted_end_is_found(lines: Lines) -> None:
    assert told(verify_export(lines, [KEY], [Anchor(12, b"x" * 32)])) == [("tail_missing", 10)]
    assert told(verify_export(lines, [KEY], [Anchor(9, b"x" * 32)])) == [("replaced", 9)]
