import asyncio

import pytest
from sqlalchemy import Connection, insert, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from tests.ledger.executionsworld import play
from tests.ledger.ledgerworld import Place

from askonce.domain.errors import DatabaseAway
from askonce.ledger.executions.store import SqlExecutions
from askonce.ledger.executions.tables import queues


def put(name: str, seen: list[object] | None = None):
    """Write a queue's row, and note in which transaction."""

    def act(connection: Connection) -> str:
        if seen is not None:
            seen.append(connection.get_transaction())
        connection.execute(insert(queues).values(name=name, paused=1))
        return name

    return act


def names(connection: Connection) -> list[str]:
    return [row.name for row in connection.execute(queues.select().order_by(queues.c.name))]


def test_changes_that_come_together_share_a_transaction_and_each_gets_its_own_answer(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        seen: list[object] = []
        shared = [store._turns.share(put(f"q{number}", seen)) for number in range(5)]
        assert await asyncio.gather(*shared) == ["q0", "q1", "q2", "q3", "q4"]
        assert len({id(transaction) for transaction in seen}) == 1
        assert await store._turns.look(names) == ["q0", "q1", "q2", "q3", "q4"]

    play(place, act)


def test_one_that_fails_undoes_nothing_of_the_others_and_fails_alone(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        await store._turns.change(put("there"))
        works = (put("a"), put("there"), put("b"))
        a, refused, b = await asyncio.gather(*map(store._turns.share, works), return_exceptions=True)
        assert (a, b) == ("a", "b")
        assert isinstance(refused, IntegrityError)
        assert await store._turns.look(names) == ["a", "b", "there"]

    play(place, act)


def test_who_left_before_his_turn_is_passed_over_and_the_others_go_on(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        left = asyncio.ensure_future(store._turns.share(put("left")))
        stays = asyncio.ensure_future(store._turns.share(put("stays")))
        await asyncio.sleep(0)  # both wait for the turn now, and it has not begun
        left.cancel()
        assert await stays == "stays"
        assert await store._turns.look(names) == ["stays"]
        with pytest.raises(asyncio.CancelledError):
            await left

    play(place, act)


def test_a_look_changes_nothing(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        with pytest.raises(DatabaseAway):  # how a database that is read-only is told of
            await store._turns.look(put("sneaked in"))
        assert await store._turns.look(names) == []

    play(place, act)


def test_after_a_change_that_raised_the_next_one_finds_a_clean_connection(place: Place) -> None:
    def fails(connection: Connection) -> None:
        put("undone")(connection)
        connection.execute(text("SELECT * FROM no_such_table"))

    async def act(store: SqlExecutions) -> None:
        with pytest.raises(DBAPIError):
            await store._turns.change(fails)
        assert await store._turns.change(put("kept")) == "kept"
        assert await store._turns.look(names) == ["kept"]

    play(place, act)
