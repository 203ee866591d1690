"""An end that somebody wants to hear of is noted with the end itself, and told by one worker at a time."""

from msgspec.structs import replace
from tests.ledger.executionsworld import NOW, begun, play, submission
from tests.ledger.ledgerworld import Place

from askonce.domain.executions import Notice, NoticeState
from askonce.ledger.executions.notices import SqlNotices
from askonce.ledger.executions.store import SqlExecutions

HOOK = "https://hooks.example.org/x"
LATER = NOW + 60_000


def notices_of(store: SqlExecutions) -> SqlNotices:
    return SqlNotices(store._turns._engine)


async def ended(store: SqlExecutions, id: str = "one", webhook: str = HOOK, status: str = "succeeded") -> None:
    execution = await begun(store, id, webhook=webhook)
    assert await store.end(replace(execution, status=status), [])


def test_an_end_is_noted_once_and_only_where_somebody_wants_to_hear(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        notices = notices_of(store)
        await ended(store, "silent", webhook="")
        assert await notices.take((), NOW, LATER) is None
        running = await begun(store, "one", webhook=HOOK)
        assert (await store.notice("one"), await notices.take((), NOW, LATER)) == (None, None)
        assert await store.end(replace(running, status="failed"), [])
        assert not await store.end(replace(running, status="succeeded"), [])
        assert await store.notice("one") == NoticeState("pending", 0, "", NOW)
        assert await notices.take((), NOW, LATER) == Notice("one", 1, 0, NOW)
        assert await notices.take((), NOW, LATER) is None, "it is somebody's now"
        assert await notices.take((), LATER, LATER + 1) == Notice("one", 1, 0, NOW), "who died with it"

    play(place, act)


def test_what_is_cancelled_before_it_began_is_told_too(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        await store.submit([submission(webhook=HOOK)])
        await store.wish_cancel("one", "acme", NOW)
        assert await notices_of(store).take((), NOW, LATER) == Notice("one", 1, 0, NOW)
        await store.submit([submission("two", webhook=HOOK)])
        await begun(store, "three", webhook=HOOK)
        await store.wish_cancel("three", "acme", NOW)
        assert await notices_of(store).take((), NOW, LATER) is None, "that one still runs"

    play(place, act)


def test_what_came_of_a_try_is_kept_and_delivered_is_delivered(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        notices = notices_of(store)
        await ended(store)
        notice = await notices.take((), NOW, LATER)
        assert notice is not None
        failed = NoticeState("pending", 1, "it answered 503", NOW + 5_000)
        await notices.settle(notice, failed)
        assert await store.notice("one") == failed
        assert await notices.take((), NOW + 4_999, LATER) is None
        again = await notices.take((), NOW + 5_000, LATER)
        assert again == Notice("one", 1, 1, NOW)
        await notices.settle(again, NoticeState("delivered", 2, "", 0))
        assert await notices.take((), LATER * 2, LATER * 3) is None
        assert await store.notice("one") == NoticeState("delivered", 2, "", 0)

    play(place, act)


def test_a_host_that_is_busy_is_passed_over_and_the_longest_due_goes_first(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        notices = notices_of(store)
        for id, host in (("a", "slow.example"), ("b", "slow.example"), ("c", "quick.example")):
            await ended(store, id, f"https://{host}/")
        for id, due_ms in (("a", 2), ("b", 1), ("c", 3)):
            await notices.settle(Notice(id, 1, 0, NOW), NoticeState("pending", 0, "", due_ms))
        taken = [await notices.take(("slow.example",), NOW, LATER), *[await notices.take((), NOW, LATER) for _ in "12"]]
        assert [notice.execution for notice in taken if notice] == ["c", "b", "a"]

    play(place, act)


def test_a_round_that_was_resumed_has_no_end_to_tell_of_any_more(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        notices = notices_of(store)
        await ended(store, status="failed")
        old = await notices.take((), NOW, LATER)
        assert old is not None
        await store.resume("one", "acme", NOW)
        assert await store.notice("one") is None
        await notices.settle(old, NoticeState("pending", 1, "late", NOW))
        assert await notices.take((), LATER, LATER * 2) is None

    play(place, act)


def test_what_is_deleted_is_told_to_nobody(place: Place) -> None:
    async def act(store: SqlExecutions) -> None:
        await ended(store)
        assert await store.sweep(NOW + 1, NOW + 1, 9) == 1
        assert await store.notice("one") is None
        assert await notices_of(store).take((), LATER, LATER * 2) is None

    play(place, act)
