"""One call in the air, as the seats of one process see it."""

import asyncio

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from askonce.cache.flight import Flight, Seat
from askonce.domain.answer import Delta, Entry
from askonce.domain.errors import AskonceError, FlightLost, ProviderFailed

ENTRY = Entry(b"k", "t", "p", "m", 0, 0, 0, 0, 0, msgspec.Raw(b"\xc0"))


def flight() -> tuple[Flight, list[Flight]]:
    deserted: list[Flight] = []
    return Flight(b"k", deserted.append), deserted


async def listen(seat: Seat, heard: list[str]) -> list[str]:
    while (pieces := await seat.more()) is not None:
        heard.extend(piece.text for piece in pieces if isinstance(piece, Delta))
        if not pieces:
            heard.append("")
    return heard


async def rounds() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


def test_every_seat_hears_every_piece_whenever_it_comes() -> None:
    async def main() -> None:
        one, _ = flight()
        heards: list[list[str]] = [[], [], []]
        listeners: list[asyncio.Task[list[str]]] = []
        for heard in heards:
            listeners.append(asyncio.ensure_future(listen(one.take_seat(pays=not listeners), heard)))
            one.append(Delta(f"<{len(listeners)}>"))
            await rounds()
        assert all(heard == ["<1>", "<2>", "<3>"] for heard in heards)
        one.land(ENTRY)
        await asyncio.gather(*listeners)

    asyncio.run(main())


def test_landing_is_heard_by_streams_and_by_those_who_wait_for_the_end() -> None:
    async def main() -> None:
        one, _ = flight()
        seats = [one.take_seat(pays=False) for _ in range(4)]
        waiting = asyncio.gather(*(seat.landed() for seat in seats[:2]), *(listen(seat, []) for seat in seats[2:]))
        await rounds()
        one.land(ENTRY)
        assert await waiting == [ENTRY, ENTRY, [], []]
        assert await one.take_seat(pays=False).landed() is ENTRY

    asyncio.run(main())


def test_pieces_come_before_the_failure_and_the_failure_reaches_all() -> None:
    async def main() -> None:
        one, _ = flight()
        heard: list[str] = []
        listening = asyncio.ensure_future(listen(one.take_seat(pays=True), heard))
        waiting = asyncio.ensure_future(one.take_seat(pays=False).landed())
        one.append(Delta("half"))
        one.fail(ProviderFailed("It broke."))
        for task in (listening, waiting):
            with pytest.raises(ProviderFailed):
                await task
        assert heard == ["half"]
        with pytest.raises(ProviderFailed):
            await one.take_seat(pays=False).landed()

    asyncio.run(main())


def test_who_fell_behind_gets_all_that_is_there_at_once() -> None:
    async def main() -> None:
        one, _ = flight()
        seat = one.take_seat(pays=True)
        pieces = [Delta("a"), Delta("b"), Delta("c")]
        for piece in pieces:
            one.append(piece)
        assert await seat.more() == pieces
        one.nudge()
        one.append(Delta("d"))
        one.land(ENTRY)
        assert await seat.more() == [Delta("d")]
        assert await seat.more() is None

    asyncio.run(main())


def test_a_cancelled_wait_has_taken_nothing() -> None:
    async def main() -> None:
        one, _ = flight()
        seat = one.take_seat(pays=True)
        waiting = asyncio.ensure_future(seat.more())
        await rounds()
        one.append(Delta("a"))
        waiting.cancel()
        await rounds()
        assert waiting.cancelled()
        assert await seat.more() == [Delta("a")]

    asyncio.run(main())


def test_the_first_ending_counts() -> None:
    one, _ = flight()
    one.land(ENTRY)
    one.fail(ProviderFailed("late"))
    assert one.error is None
    other, _ = flight()
    other.fail(ProviderFailed("first"))
    other.fail(FlightLost("late"))
    other.land(ENTRY)
    assert other.entry is None
    assert isinstance(other.error, ProviderFailed)


def test_one_seats_cancellation_does_not_disturb_the_others() -> None:
    async def main() -> None:
        one, _ = flight()
        tasks = [asyncio.ensure_future(one.take_seat(pays=False).landed()) for _ in range(3)]
        await rounds()
        tasks[0].cancel()
        tasks[2].cancel()
        await rounds()
        one.land(ENTRY)
        assert await tasks[1] is ENTRY
        assert tasks[0].cancelled()
        assert tasks[2].cancelled()

    asyncio.run(main())


def test_the_last_to_leave_deserts_a_flight_in_the_air_and_only_then() -> None:
    one, deserted = flight()
    seats = [one.take_seat(pays=True), one.take_seat(pays=False)]
    seats[0].leave()
    seats[0].leave()
    assert (one.waiters, deserted) == (1, [])
    seats[1].leave()
    assert (one.waiters, deserted) == (0, [one])
    again = one.take_seat(pays=False)
    one.land(ENTRY)
    again.leave()
    assert deserted == [one]


def test_a_restart_loses_who_passed_text_on_and_nobody_else() -> None:
    async def main() -> None:
        one, _ = flight()
        passed: list[str] = []
        listening = asyncio.ensure_future(listen(one.take_seat(pays=True), passed))
        waiting = asyncio.ensure_future(one.take_seat(pays=False).landed())
        one.append(Delta("old"))
        await rounds()
        fresh: list[str] = []
        late = asyncio.ensure_future(listen(one.take_seat(pays=False), fresh))
        one.restart()
        one.append(Delta("new"))
        one.land(ENTRY)
        with pytest.raises(FlightLost):
            await listening
        assert passed == ["old"]
        assert await waiting is ENTRY
        assert await late == fresh == ["new"]

    asyncio.run(main())


def test_a_restart_for_nobody_ends_the_flight() -> None:
    async def main() -> None:
        one, _ = flight()
        listening = asyncio.ensure_future(listen(one.take_seat(pays=True), []))
        one.append(Delta("old"))
        await rounds()
        one.restart()
        assert one.over
        with pytest.raises(FlightLost):
            await listening

    asyncio.run(main())


def test_a_restart_while_nobody_waits_lets_the_flight_go_on() -> None:
    async def main() -> None:
        one, _ = flight()
        seat = one.take_seat(pays=True)
        one.append(Delta("old"))
        assert await seat.more()
        seat.leave()
        one.restart()
        assert not one.over
        fresh: list[str] = []
        late = asyncio.ensure_future(listen(one.take_seat(pays=False), fresh))
        one.append(Delta("new"))
        one.land(ENTRY)
        assert await late == ["new"]

    asyncio.run(main())


def test_a_restart_before_any_text_changes_nothing() -> None:
    async def main() -> None:
        one, _ = flight()
        heard: list[str] = []
        listening = asyncio.ensure_future(listen(one.take_seat(pays=True), heard))
        await rounds()
        one.restart()
        one.append(Delta("new"))
        one.land(ENTRY)
        assert await listening == ["new"]

    asyncio.run(main())


def test_a_nudge_is_an_empty_piece_for_streams_that_wait_and_nothing_for_others() -> None:
    async def main() -> None:
        one, _ = flight()
        heard: list[str] = []
        listening = asyncio.ensure_future(listen(one.take_seat(pays=True), heard))
        waiting = asyncio.ensure_future(one.take_seat(pays=False).landed())
        await rounds()
        one.nudge()
        await rounds()
        assert heard == [""]
        assert not waiting.done()
        await rounds()
        assert heard == [""]
        one.land(ENTRY)
        assert await listening == [""]

    asyncio.run(main())


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from("abc")),
        st.tuples(st.just("restart"), st.just("")),
        st.tuples(st.just("nudge"), st.just("")),
        st.tuples(st.just("join"), st.just("")),
        st.tuples(st.just("round"), st.just("")),
    ),
    max_size=25,
)


@settings(deadline=None)
@given(MOVES, st.booleans())
def test_nobody_is_left_waiting_and_nobody_hears_a_mixture(moves: list[tuple[str, str]], lands: bool) -> None:
    async def main() -> None:
        one, _ = flight()
        seats: list[Seat] = []
        listeners: list[asyncio.Task[list[str]]] = []
        generation = ""
        for move, text in [("join", ""), *moves]:
            if move == "append":
                generation += text
                one.append(Delta(text))
            elif move == "restart":
                generation = "" if generation else generation
                one.restart()
            elif move == "nudge":
                one.nudge()
            elif move == "join":
                seats.append(one.take_seat(pays=False))
                listeners.append(asyncio.ensure_future(listen(seats[-1], [])))
            else:
                await asyncio.sleep(0)
        if lands:
            one.land(ENTRY)
        else:
            one.fail(ProviderFailed("It broke."))
        for seat, listener in zip(seats, listeners, strict=True):
            try:
                heard = "".join(await asyncio.wait_for(listener, 5))
            except AskonceError as error:
                assert isinstance(error, FlightLost) or not lands  # noqa: PT017
            else:
                assert heard == generation
            seat.leave()
        assert one.waiters == 0

    asyncio.run(main())


def test_who_passed_text_on_and_left_does_not_decide_for_those_who_wait() -> None:
    async def main() -> None:
        one, _ = flight()
        seat = one.take_seat(pays=True)
        listening = asyncio.ensure_future(listen(seat, []))
        waiting = asyncio.ensure_future(one.take_seat(pays=False).landed())
        one.append(Delta("old"))
        await rounds()
        listening.cancel()
        seat.leave()
        one.restart()
        assert not one.over
        one.land(ENTRY)
        assert await waiting is ENTRY

    asyncio.run(main())
