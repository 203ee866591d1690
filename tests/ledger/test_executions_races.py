"""Two who change one execution at the same moment: one of them wins, and neither's change is half done."""

import asyncio
import base64
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace
from sqlalchemy import text
from tests.ledger.executionsworld import ANY, NOW, StillClock, begun, play, submission
from tests.ledger.ledgerworld import Place
from tests.ledger.postgres import Postgres

from askonce.domain.errors import Invalid, NotResumable
from askonce.domain.executions import ExecutionQuestion
from askonce.ledger.engine import Bounds, open_beside, writing
from askonce.ledger.executions.store import SqlExecutions
from askonce.ledger.executions.tables import FILE
from askonce.ledger.schema import SCHEMA

FAR_MS = NOW + 1_000_000_000
_WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")


async def while_another_writes(place: Place, change: str, act: Callable[[], Awaitable[object]]) -> None:
    """Do something while another process's change of an execution's row is not kept yet; it is, once we wait for it.

    Who does not wait is done by then.
    """
    engine = open_beside(place.url, place.folder, FILE, Bounds())
    try:
        async with writing(engine) as connection:
            await connection.execute(text(change))
            acting = asyncio.ensure_future(act())
            while not acting.done():
                async with writing(engine) as looking:
                    if (await looking.execute(_WAITING)).scalar_one():
                        break
                await asyncio.sleep(0.01)
        await acting
    finally:
        await engine.dispose()


def test_what_is_cancelled_while_it_is_claimed_stays_cancelled(postgres: Postgres, tmp_path) -> None:
    place = Place(postgres.database(), tmp_path)
    cancel = f"UPDATE {SCHEMA}.executions SET state = 4 WHERE id = 'one'"

    async def act(store: SqlExecutions) -> None:
        await store.submit([submission()])
        await while_another_writes(place, cancel, lambda: store.claim(ANY, "w", NOW))
        found = await store.find("one", None)
        assert found is not None
        assert found.status == "cancelled"
        assert await store.held() == ()

    play(place, act)


def test_what_is_resumed_while_old_ones_are_deleted_stays(postgres: Postgres, tmp_path) -> None:
    place = Place(postgres.database(), tmp_path)
    resume = f"UPDATE {SCHEMA}.executions SET state = 0, round = 2, ended_ms = 0 WHERE id = 'one'"

    async def act(store: SqlExecutions) -> None:
        await store.end(replace(await begun(store), status="failed"), [])
        await while_another_writes(place, resume, lambda: store.sweep(FAR_MS, FAR_MS, 10))
        found = await store.find("one", None)
        assert found is not None
        assert (found.status, found.round) == ("queued", 2)

    play(place, act)


def test_what_is_swept_by_two_at_once_is_deleted_once(postgres: Postgres, tmp_path) -> None:
    place = Place(postgres.database(), tmp_path)

    async def act(store: SqlExecutions) -> None:
        for number in range(60):
            await store.submit([submission(f"e{number}")])
            await store.wish_cancel(f"e{number}", "acme", NOW)
        other = open_beside(place.url, place.folder, FILE, Bounds())
        try:
            both = [one.sweep(FAR_MS, FAR_MS, 60) for one in (store, SqlExecutions(other, StillClock()))]
            assert sum(await asyncio.gather(*both)) == 60
        finally:
            await other.dispose()

    play(place, act)


def test_what_cannot_be_resumed_because_its_name_is_taken_says_by_whom(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        for id in ("first", "second"):
            await store.submit([submission(id, dedup="nightly")])
            if id == "first":
                await store.wish_cancel(id, "acme", NOW)
        with pytest.raises(NotResumable, match="second"):
            await store.resume("first", "acme", NOW)
        found = await store.find("first", None)
        assert found is not None
        assert (found.status, found.round) == ("cancelled", 1)

    play(place, act)


@pytest.mark.parametrize("at", ["9" * 30, "-" + "9" * 30])
def test_a_cursor_that_no_database_can_hold_is_none(place: Place, at: str) -> None:
    cursor = base64.urlsafe_b64encode(f"{at}.x".encode()).decode().rstrip("=")

    async def act(store: SqlExecutions) -> None:
        with pytest.raises(Invalid):
            await store.page(ExecutionQuestion("acme", after=cursor))

    play(place, act)


@pytest.mark.parametrize("id", ["a\0b", "a\ud800b"])
def test_an_id_that_no_database_can_hold_is_nobodys(place: Place, id: str) -> None:
    async def act(store: SqlExecutions) -> None:
        assert await store.find(id, "acme") is None
        assert (await store.page(ExecutionQuestion("acme", batch=id))).executions == ()
        cursor = base64.urlsafe_b64encode(b"1.a\0b").decode().rstrip("=")
        with pytest.raises(Invalid):
            await store.page(ExecutionQuestion("acme", after=cursor))

    play(place, act)


def test_a_name_that_no_database_can_hold_is_still_one_name(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        first, second = await store.submit([submission("a", dedup="n\0"), submission("b", dedup="n\0")])
        assert (first.id, second.id) == ("a", "a")

    play(place, act)


def test_many_executions_are_followed_at_once(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        await store.submit([submission(f"e{number}") for number in range(200)])
        assert len(await store.events({f"e{number}": 0 for number in range(200)}, 500)) == 200

    play(place, act)


def test_who_pauses_a_queue_that_another_one_pauses_has_paused_it(postgres: Postgres, tmp_path) -> None:
    place = Place(postgres.database(), tmp_path)
    pause = f"INSERT INTO {SCHEMA}.execution_queues (name, paused) VALUES ('batch', 1)"

    async def act(store: SqlExecutions) -> None:
        await while_another_writes(place, pause, lambda: store.pause("batch", paused=True))
        assert [queue.name for queue in await store.queues(NOW) if queue.paused] == ["batch"]
        await store.pause("batch", paused=False)
        assert not any(queue.paused for queue in await store.queues(NOW))

    play(place, act)
