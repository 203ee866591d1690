"""Executions outlive whoever asked for them: each change once, with its events, and of two that meet one wins."""

import asyncio
import time

import pytest
from alembic.autogenerate import compare_metadata
from msgspec import Raw
from msgspec.structs import replace
from sqlalchemy import Connection, text
from tests.ledger.executionsworld import ANY, NOW, begun, node, play, submission, told
from tests.ledger.ledgerworld import Place

from askonce.domain.errors import Invalid
from askonce.domain.executions import Execution, ExecutionQuestion, Room, Totals, Turn, TurnOver
from askonce.ledger.engine import writing
from askonce.ledger.executions.store import SqlExecutions
from askonce.ledger.executions.tables import WORKFLOWS
from askonce.ledger.migrate import NOTHING, context, migrate, revert
from askonce.ledger.schema import SCHEMA

TURN = Turn("one", 1, 1)


def ending(execution: Execution, status: str = "succeeded") -> Execution:
    return replace(execution, status=status, progress=100, result=Raw(b'{"code":"x"}'), totals=Totals(1, 2, 3, 4, 5))


def numbers(events: object) -> list[int]:
    return [event.number for event in events]  # type: ignore[attr-defined]


def test_what_was_submitted_comes_back_whole(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        asked = submission(urgency="HIGH", dedup="nightly", webhook="https://h", attempts=3, timeout_s=9, trace_id="t")
        (made,) = await store.submit([asked])
        assert made == Execution(asked) == await store.find("one", "acme")
        assert await store.find("one", "other") is None
        assert (await store.find("one", None)) is not None
        assert await store.find("two", None) is None
        (queued,) = await store.events({"one": 0}, 10)
        assert (queued.number, queued.kind, bytes(queued.data)) == (1, "execution", b'{"status":"queued","round":1}')

    play(place, act)


def test_many_at_once_are_written_in_their_order_and_what_is_twice_among_them_once(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        ids = [f"e{at}" for at in range(1_203)]
        await store.submit([submission("e7", name="older")])
        told = await store.submit([*map(submission, ids), submission("e3"), submission("x", dedup="n")])
        assert [one.id for one in told] == [*ids, "e3", "x"]
        assert told[7].submission.name == "older"
        some = dict.fromkeys(ids[::100], 0)
        assert [(one.execution, one.number) for one in await store.events(some, 99)] == [(id, 1) for id in sorted(some)]
        assert [state.queued for state in await store.queues(NOW)] == [1_204, 0, 0]

    play(place, act)


def test_submitting_again_is_submitting_once_and_a_living_name_stands_for_one(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        await store.submit([submission()])
        (again,) = await store.submit([submission(name="other")])
        assert again.submission.name == "custom"
        first, second = await store.submit([submission("a", dedup="n"), submission("b", dedup="n")])
        assert (first.id, second.id) == ("a", "a")
        (foreign,) = await store.submit([submission("c", dedup="n", tenant="other")])
        assert foreign.id == "c"
        await store.wish_cancel("a", "acme", NOW)
        (fresh,) = await store.submit([submission("d", dedup="n")])
        assert fresh.id == "d", "the name is free once its execution has ended"

    play(place, act)


def test_a_life_from_queue_to_end(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        execution = await begun(store)
        assert (execution.status, execution.taken, execution.started_ms) == ("running", 1, NOW)
        await store.keep(TURN, node("plan", "running"), [told()], 0)
        await store.keep(TURN, node("plan", text="words", files=Raw(b'[{"path":"a"}]')), [told("succeeded")], 50)
        (run,) = await store.nodes("one")
        assert (run.status, run.text, bytes(run.files)) == ("succeeded", "words", b'[{"path":"a"}]')
        assert await store.end(ending(execution), [told("done")])
        assert not await store.end(ending(execution, "failed"), [told("done")]), "it has ended"
        over = await store.find("one", None)
        assert over is not None
        assert (over.status, over.ended_ms, over.totals, over.progress) == (
            "succeeded",
            NOW,
            Totals(1, 2, 3, 4, 5),
            100,
        )
        assert bytes(over.result) == b'{"code":"x"}'
        assert numbers(await store.events({"one": 0}, 100)) == [1, 2, 3, 4, 5]
        assert numbers(await store.events({"one": 3}, 100)) == [4, 5]
        assert await store.begin("one", 1, NOW) is None

    play(place, act)


def test_events_have_no_gap_however_many_write_side_by_side(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        await begun(store)
        await asyncio.gather(*(store.keep(TURN, node(f"n{at}"), [told(), told()], at) for at in range(20)))
        assert numbers(await store.events({"one": 0}, 100)) == list(range(1, 43))
        assert len(await store.nodes("one")) == 20

    play(place, act)


def test_who_is_more_urgent_comes_first_but_nobody_waits_for_ever(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        hour = 3_600_000
        await store.submit(
            [
                submission("old-low", urgency="LOW", created_ms=NOW - 2 * hour),
                submission("low", urgency="LOW"),
                submission("medium"),
                submission("critical", urgency="CRITICAL"),
                submission("high", urgency="HIGH"),
                submission("later", urgency="CRITICAL", not_before_ms=NOW + 5),
            ]
        )
        order = []
        for _ in range(6):
            order += [one.id for one in await store.claim([Room("workflows", 1)], "w", NOW)]
        assert order == ["old-low", "critical", "high", "medium", "low"]
        assert [one.id for one in await store.claim([Room("workflows", 1)], "w", NOW + 5)] == ["later"]

    play(place, act)


def test_a_queue_begins_no_more_than_its_rate_and_nothing_while_it_is_paused(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        await store.submit([submission(f"e{at}") for at in range(6)])
        room = Room("workflows", 10, per_span=2, span_ms=1000)
        assert len(await store.claim([room], "w", NOW)) == 2
        assert len(await store.claim([room], "v", NOW + 999)) == 0
        await store.pause("workflows", paused=True)
        assert len(await store.claim([room], "w", NOW + 1000)) == 0
        (state, *_) = await store.queues(NOW)
        assert (state.name, state.paused, state.queued, state.running, state.oldest_ms) == (
            "workflows",
            True,
            4,
            2,
            NOW,
        )
        await store.pause("workflows", paused=False)
        assert len(await store.claim([room], "w", NOW + 1000)) == 2
        assert {held[2] for held in await store.held()} == {"w"}

    play(place, act)


def test_two_workers_never_take_the_same(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        await store.submit([submission(f"e{at}") for at in range(30)])
        claimed = await asyncio.gather(*(store.claim([Room("workflows", 4)], f"w{at}", NOW) for at in range(8)))
        ids = [one.id for some in claimed for one in some]
        assert len(ids) == len(set(ids)) == 30

    play(place, act)


def test_cancelling_ends_what_waits_and_tells_whoever_runs_the_rest(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        await store.submit([submission("waits")])
        ended = await store.wish_cancel("waits", "acme", NOW)
        assert ended is not None
        assert (ended.status, ended.ended_ms) == ("cancelled", NOW)
        await begun(store)
        assert await store.wish_cancel("one", "other", NOW) is None
        asked = await store.wish_cancel("one", "acme", NOW)
        assert asked is not None
        assert (asked.status, asked.wish) == ("running", "cancel")
        assert await store.wishes("w") == (("one", 1),)
        assert await store.wishes("v") == ()
        assert await store.end(ending(asked, "cancelled"), [])
        assert await store.wishes("w") == ()
        late = await store.wish_cancel("one", "acme", NOW)
        assert late is not None
        assert late.status == "cancelled"

    play(place, act)


def test_resuming_keeps_what_is_finished_and_begins_a_new_round(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        execution = await begun(store)
        still = await store.resume("one", "acme", NOW)
        assert still is not None
        assert (still.status, still.round) == ("running", 1)
        for name, status in (("a", "succeeded"), ("b", "failed"), ("c", "skipped"), ("d", "cancelled")):
            await store.keep(TURN, node(name, status), [], 0)
        await store.end(ending(execution, "failed"), [])
        again = await store.resume("one", "acme", NOW + 7)
        assert again is not None
        assert (again.status, again.round, again.ended_ms, bytes(again.result)) == ("queued", 2, 0, b"null")
        assert {run.node for run in await store.nodes("one")} == {"a", "c"}
        await store.claim(ANY, "w", NOW + 8)
        assert await store.begin("one", 1, NOW) is None, "a worker of the former round is too late"
        assert (await store.begin("one", 2, NOW)) is not None
        assert await store.take_over("one", 2, "v")
        assert not await store.take_over("one", 1, "v")
        assert await store.held("v") == (("one", 2, "v"),)

    play(place, act)


def test_pages_are_newest_first_and_a_cursor_leads_on(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        await store.submit([submission(f"e{at}", created_ms=NOW + at // 2, batch="b" * (at % 2)) for at in range(7)])
        await store.submit([submission("foreign", tenant="other")])
        seen, after = [], ""
        while True:
            page = await store.page(ExecutionQuestion("acme", size=3, after=after))
            seen += [one.id for one in page.executions]
            after = page.after
            if not after:
                break
        assert seen == ["e6", "e5", "e4", "e3", "e2", "e1", "e0"]
        assert len((await store.page(ExecutionQuestion(None))).executions) == 8
        assert [one.id for one in (await store.page(ExecutionQuestion("acme", batch="b"))).executions] == [
            "e5",
            "e3",
            "e1",
        ]
        assert (await store.page(ExecutionQuestion("acme", statuses=("failed",)))).executions == ()
        for cursor in ("x", "!!", "Zm9v"):
            with pytest.raises(Invalid):
                await store.page(ExecutionQuestion("acme", after=cursor))

    play(place, act)


def test_what_ended_long_ago_goes_with_all_its_parts(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        execution = await begun(store)
        await store.keep(TURN, node("a"), [told()], 0)
        await store.end(ending(execution, "failed"), [])
        await store.submit([submission("waits")])
        assert await store.sweep(NOW + 1, NOW, 10) == 0, "one that failed is kept longer"
        assert await store.sweep(NOW, NOW + 1, 10) == 1
        assert await store.find("one", None) is None
        assert await store.nodes("one") == ()
        assert await store.events({"one": 0}, 10) == ()
        assert (await store.find("waits", None)) is not None
        with pytest.raises(TurnOver):
            await store.tell(TURN, [told()])

    play(place, act)


def test_whoever_was_frozen_writes_nothing_into_what_another_has_taken_up(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        frozen = await begun(store)
        assert await store.take_over("one", 1, "other")
        current = await store.begin("one", 1, NOW)
        assert current is not None
        await store.keep(current.turn, node("a", text="new"), [told()], 50)
        before = await store.events({"one": 0}, 99)
        for late in (frozen.turn, Turn("one", 2, 1), Turn("one", 1, 3), Turn("none", 1, 1)):
            with pytest.raises(TurnOver):
                await store.keep(late, node("a", text="old"), [told()], 100)
            with pytest.raises(TurnOver):
                await store.tell(late, [told()])
        assert not await store.end(ending(frozen, "failed"), [told()])
        assert [run.text for run in await store.nodes("one")] == ["new"]
        assert await store.events({"one": 0}, 99) == before
        found = await store.find("one", None)
        assert (found.status, found.progress) == ("running", 50) if found else False
        assert await store.end(ending(current), [told()])
        with pytest.raises(TurnOver):
            await store.tell(current.turn, [told()])

    play(place, act)


def test_the_steps_make_what_the_tables_say_and_go_back(place: Place) -> None:
    def compare(connection: Connection) -> list[object]:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL search_path TO {SCHEMA}"))
            connection.dialect.default_schema_name = SCHEMA
        found = compare_metadata(context(connection, WORKFLOWS), WORKFLOWS.tables)
        return [difference for difference in found if WORKFLOWS.versions not in str(difference)]

    async def act(store: SqlExecutions) -> None:
        async with writing(store._turns._engine) as connection:
            assert await connection.run_sync(compare) == []
        await store.submit([submission()])
        assert await revert(store._turns._engine, NOTHING, WORKFLOWS) == ""
        await migrate(store._turns._engine, family=WORKFLOWS)
        assert await store.find("one", None) is None

    play(place, act)


def test_writes_wait_for_each_other_not_for_the_disk(place: Place) -> None:
    """Not timed: that a thousand writes end at all within the test's own bound is what is held here."""

    async def act(store: SqlExecutions) -> float:
        await begun(store)
        before = time.perf_counter()
        for at in range(300):
            await store.keep(TURN, node(f"n{at % 7}"), [told()], 0)
        return 300 / (time.perf_counter() - before)

    print(f"{play(place, act):.0f} writes a second")
