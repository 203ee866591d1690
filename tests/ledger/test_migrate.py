"""The tables' shape, step by step."""

import asyncio
import importlib
import pkgutil

import pytest
from alembic.autogenerate import compare_metadata
from sqlalchemy import Connection, func, select, text
from tests.ledger.ledgerworld import Place, batch, call, count, no_audit, rows_of

import askonce.ledger
from askonce.ledger import tables
from askonce.ledger.engine import reading, writing
from askonce.ledger.migrate import NOTHING, VERSIONS, LedgerTooNew, context, migrate, revert, scripts, step_of
from askonce.ledger.schema import SCHEMA, qualified
from askonce.ledger.writer import SqlLedger


def test_steps_make_what_the_tables_say(place: Place) -> None:
    for module in pkgutil.iter_modules(askonce.ledger.__path__):
        importlib.import_module(f"askonce.ledger.{module.name}")  # a table is known once its module was read

    def compare(connection: Connection) -> list[object]:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL search_path TO {SCHEMA}"))
            connection.dialect.default_schema_name = SCHEMA
        differences = list(compare_metadata(context(connection), context(connection).opts["target_metadata"]))
        return [difference for difference in differences if VERSIONS not in str(difference)]

    async def act(engine):
        async with writing(engine) as connection:
            assert await connection.run_sync(compare) == []

    place.play(act)


def test_there_is_one_last_step() -> None:
    assert len(scripts().get_heads()) == 1


def test_a_filled_database_goes_back_and_forth(place: Place) -> None:
    async def act(engine):
        for first in (1, 3):
            await SqlLedger(engine, no_audit).apply(batch(call(), count(), first=first))
            assert await step_of(engine) == scripts().get_current_head()
            assert await revert(engine, NOTHING) == "" == await step_of(engine)
            await migrate(engine)
            assert await rows_of(engine, tables.calls) == []

    place.play(act)


def test_going_back_to_one_step_keeps_what_it_knew(place: Place) -> None:
    async def act(engine):
        await SqlLedger(engine, no_audit).apply(batch(call(), count()))
        assert await revert(engine, "0001") == "0001"
        async with reading(engine) as connection:
            assert await connection.scalar(select(func.count()).select_from(tables.calls)) == 1
        await migrate(engine)
        assert len(await rows_of(engine, tables.calls)) == 1

    place.play(act)


def test_a_newer_programs_database_is_refused_by_name(place: Place) -> None:
    async def act(engine):
        async with writing(engine) as connection:
            versions = qualified(connection.dialect, VERSIONS)
            await connection.execute(text(f"UPDATE {versions} SET version_num = '9999'"))
        with pytest.raises(LedgerTooNew, match="9999"):
            await migrate(engine)
        assert await rows_of(engine, tables.calls) == []

    place.play(act)


def test_many_processes_at_once_make_it_once(place: Place) -> None:
    async def act():
        async with place.open(migrated=False) as one, place.open(migrated=False) as other:
            assert len(set(await asyncio.gather(*(migrate(engine) for engine in (one, other, one, other))))) == 1

    asyncio.run(act())
