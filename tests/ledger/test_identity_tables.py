"""The tables of keys and people are those that the steps make, and can be taken back."""

from alembic.autogenerate import compare_metadata
from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.ledger.identityworld import TABLES, World
from tests.ledger.ledgerworld import Place

from askonce.domain.accounts import KeyWish, User
from askonce.ledger.migrate import context, migrate, revert
from askonce.ledger.schema import SCHEMA, metadata

OURS = {table.name for table in TABLES}


def test_the_steps_make_these_tables(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            found = await connection.run_sync(lambda it: compare_metadata(context(it), metadata))
        assert [difference for difference in found if any(f"'{name}'" in str(difference) for name in OURS)] == []

    place.play(play)


def _names(connection: Connection) -> list[str]:
    return inspect(connection).get_table_names(SCHEMA if connection.dialect.name == "postgresql" else None)


def test_steps_go_down_and_up_again_on_a_filled_database(place: Place) -> None:
    async def play(engine: AsyncEngine) -> None:
        for _ in range(2):
            world = World(engine)
            issued = await world.keys.create(KeyWish("ci"))
            await world.vault.add("openai", "main", "sk-0123456789")
            await world.links.first_administrator(world.clock.wall + 1)
            await world.users.create(User("", "default", "ada@example.org"))
            assert (await world.keys.get(issued.card.id)).version == 1
            await revert(engine, "0001")
            async with engine.connect() as connection:
                left = await connection.run_sync(_names)
            assert OURS.isdisjoint(left)
            await migrate(engine)

    place.play(play)
