"""Workers die at any moment, and every work is done: each answer paid once, none mistaken for another."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import psycopg
import pytest
from tests.ledger.ledgerworld import Place
from tests.ledger.postgres import Postgres
from tests.workflows.engineworld import PARENTS, Payments, Worker, outcome, submission

from askonce.domain.clock import SystemClock
from askonce.domain.executions import QUEUES, Execution
from askonce.ledger.engine import Bounds, open_beside
from askonce.ledger.executions.store import SqlExecutions
from askonce.ledger.executions.tables import FILE, WORKFLOWS
from askonce.ledger.migrate import LATEST, migrate
from askonce.workflows.dispatcher import Limit
from askonce.workflows.wake import Waker

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]
DEADLINE_S = 90.0
T = TypeVar("T")


def play(place: Place, act: Callable[[SqlExecutions], Awaitable[T]]) -> T:
    """Do something with the store of a place."""

    async def whole() -> T:
        rows = open_beside(place.url, place.folder, FILE, Bounds())
        try:
            await migrate(rows, LATEST, WORKFLOWS)
            return await act(SqlExecutions(rows, SystemClock()))
        finally:
            await rows.dispose()

    return asyncio.run(whole())


def submit(place: Place, *submissions: object) -> None:
    play(place, lambda store: store.submit(submissions))  # type: ignore[arg-type]


def found(place: Place, id: str) -> Execution:
    execution = play(place, lambda store: store.find(id, None))
    assert execution is not None
    return execution


def paid(place: Place) -> list[str]:
    payments = Payments(place.folder)
    try:
        return [name for name, _ in payments.lines()]
    finally:
        payments.close()


def begun(place: Place) -> list[str]:
    """Return what was begun, in that order."""
    return [name.removesuffix("/begun") for name in paid(place) if name.endswith("/begun")]


def until(condition: Callable[[], T]) -> T:
    """Wait for something; return it."""
    deadline = time.monotonic() + DEADLINE_S
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return value


def all_ended(place: Place, ids: list[str]) -> bool:
    async def act(store: SqlExecutions) -> bool:
        executions = [await store.find(id, None) for id in ids]
        return all(execution is not None and execution.has_ended for execution in executions)

    return play(place, act)


def has_paid(place: Place, so_often: int) -> bool:
    return len([name for name in paid(place) if not name.endswith("/begun")]) >= so_often


def has_begun(place: Place, so_often: int) -> bool:
    return len(begun(place)) == so_often


def is_over(worker: Worker, place: Place, ids: list[str]) -> bool:
    return not worker.process.is_alive() or all_ended(place, ids)


@contextmanager
def working(place: Place, **how: object) -> Iterator[Worker]:
    worker = Worker(place, **how)  # type: ignore[arg-type]
    try:
        yield worker
    finally:
        worker.kill()


def judge(place: Place, ids: list[str]) -> None:
    """Every work ended well, with everybody's own answers, each paid once."""
    payments = [name for name in paid(place) if not name.endswith("/begun")]
    assert sorted(payments) == sorted(f"{id}/{node}" for id in ids for node in PARENTS)
    for id in ids:
        execution = found(place, id)
        assert (execution.status, execution.error) == ("succeeded", "")
        assert msgspec.json.decode(execution.result) == outcome()


def kill_rounds(place: Place, works: int, kills: int, workers: int = 1) -> None:
    """Submit works, and kill one of the workers after every few payments."""
    ids = [f"w{number}" for number in range(works)]
    submit(place, *(submission(id) for id in ids))
    lives = [Worker(place) for _ in range(workers)]
    try:
        every = works * len(PARENTS) // (kills + 1)
        for number in range(kills):
            due = min(every * (number + 1), works * len(PARENTS) - 2) + random.randrange(-2, 3)
            until(partial(has_paid, place, due))
            victim = random.randrange(workers)
            lives[victim].kill()
            lives[victim] = Worker(place)
        until(lambda: all_ended(place, ids))
    finally:
        for life in lives:
            life.kill()
    judge(place, ids)


def test_killed_workers_runs_go_on_with_their_own_answers_paid_once(place: Place) -> None:
    kill_rounds(place, works=6, kills=3, workers=2 if place.url else 1)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_killed_workers_runs_go_on_many_times(place: Place) -> None:
    kill_rounds(place, works=50, kills=25, workers=3 if place.url else 1)


def test_a_dead_workers_run_goes_on_at_another(postgres: Postgres, tmp_path: Path) -> None:
    place = Place(postgres.database(), tmp_path)
    with working(place) as first:
        submit(place, submission("one", does="waits"))
        until(lambda: begun(place) == ["one"])
        with working(place):
            first.kill()
            until(lambda: begun(place) == ["one", "one"])


def test_who_loses_its_name_begins_again_under_another(postgres: Postgres, tmp_path: Path) -> None:
    place = Place(postgres.database(), tmp_path)
    ids = [f"w{number}" for number in range(12)]
    with working(place), working(place):
        submit(place, *(submission(id) for id in ids))
        until(lambda: len(paid(place)) > 20)
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'"
        with psycopg.connect(place.url, autocommit=True) as connection:
            connection.execute(cut)
        until(lambda: all_ended(place, ids))
    for id in ids:
        assert msgspec.json.decode(found(place, id).result) == outcome()


def test_a_paused_queue_begins_nothing_over_restarts_and_goes_on_when_asked(place: Place) -> None:
    play(place, lambda store: store.pause("workflows", paused=True))
    submit(place, submission("one", does="nothing"))
    for name in ("first", "second"):
        with working(place):
            submit(place, submission(name, "batch", does="nothing"))
            until(partial(all_ended, place, [name]))
            assert found(place, "one").status == "queued"
    play(place, lambda store: store.pause("workflows", paused=False))
    with working(place):
        until(lambda: all_ended(place, ["one"]))


def test_the_most_urgent_goes_first(place: Place) -> None:
    now_ms = SystemClock().wall_ms()
    for urgency in ("LOW", "MEDIUM", "HIGH", "CRITICAL"):
        submit(place, submission(urgency, does="nothing", urgency=urgency, created_ms=now_ms))
    with working(place, limits=dict.fromkeys(QUEUES, Limit(1))):
        until(lambda: all_ended(place, ["LOW"]))
    assert begun(place) == ["CRITICAL", "HIGH", "MEDIUM", "LOW"]


def test_no_more_begin_in_any_span_than_the_rate_says(place: Place) -> None:
    ids = [f"w{number}" for number in range(8)]
    submit(place, *(submission(id, does="nothing") for id in ids))
    limits = dict.fromkeys(QUEUES, Limit(8, per_span=3, span_ms=1_500))
    with working(place, limits=limits):
        until(lambda: all_ended(place, ids))
    starts = sorted(found(place, id).started_ms for id in ids)
    assert all(later - earlier >= 1_500 for earlier, later in zip(starts, starts[3:], strict=False))


def test_what_is_cancelled_stops(place: Place) -> None:
    with working(place):
        submit(place, submission("one", does="waits"))
        until(lambda: begun(place) == ["one"])
        play(place, lambda store: store.wish_cancel("one", "acme", SystemClock().wall_ms()))
        until(lambda: all_ended(place, ["one"]))
    assert found(place, "one").status == "cancelled"


def test_a_tap_begins_work_at_once(tmp_path: Path) -> None:
    place = Place("", tmp_path)
    with working(place, idle_s=3_600.0), closing(Waker(tmp_path)) as waker:
        for number in range(3):
            one = submission(f"w{number}", does="nothing")
            submit(place, one)
            # Nobody looks within the next hour, unless told that there is work.
            waker.wake()
            until(partial(all_ended, place, [one.id]))


def test_stopping_in_good_order_is_no_death(place: Place) -> None:
    submit(place, submission("one", does="waits"))
    for lives in range(1, 5):
        worker = Worker(place, lives=2)
        until(partial(has_begun, place, lives))
        worker.stop()
        assert found(place, "one").status == "running"


def test_what_kills_its_workers_is_given_up_with_a_reason_and_the_rest_is_done(place: Place) -> None:
    submit(place, submission("guilty", does="kills"), submission("other"))
    for _ in range(8):
        worker = Worker(place, lives=4)
        until(partial(is_over, worker, place, ["guilty", "other"]))
        worker.kill()
    assert found(place, "guilty").status == "failed"
    assert "died 4 times" in found(place, "guilty").error
    judge(place, ["other"])
