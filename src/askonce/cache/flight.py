"""One payment, many waiters: a call in the air, as the requests of one process see it.

A flight collects pieces of text and ends once, landed or failed. Any number of requests hold a seat; each reads every
piece from the first on at its own pace. A flight knows nothing of who feeds it: the provider's stream, or the log of
another process that asks the same question.

                 board                append*              land
    (nothing) ──────────▶ boarding ──────────▶ flying ────────────▶ landed
                              │                  │ restart  ▲
                              └──── fail ──▶ failed ◀───────┘ fail

`restart` throws away what was collected: seats that passed text on fail with `FlightLost`, all others start afresh.
"""

import asyncio
from collections.abc import Callable, Sequence

from askonce.domain.answer import Entry, Piece, ToolDelta
from askonce.domain.errors import AskonceError, FlightLost

LOST = "The call that this request had joined was lost while it was streaming. Ask again."


class Flight:
    """Collect an answer for everyone who waits for it."""

    def __init__(self, key: bytes, on_deserted: Callable[["Flight"], None]) -> None:
        self.key = key
        self.waiters = 0
        self.joined = 0  # seats that were ever taken
        self.entry: Entry | None = None
        self.from_store = False  # landed with an answer that was stored meanwhile: nobody paid, nobody joined
        self.error: AskonceError | None = None
        self._on_deserted = on_deserted
        self._committed = 0  # seats that have passed text on
        self._pieces: list[Piece] = []
        self._epoch = 0
        self._nudges = 0
        self._waiting: list[asyncio.Future[None]] = []  # one per seat that waits for something to happen

    @property
    def over(self) -> bool:
        """Say whether the flight has landed or failed."""
        return self.entry is not None or self.error is not None

    @property
    def begun(self) -> bool:
        """Say whether any piece is there, which somebody may have passed on."""
        return bool(self._pieces)

    @property
    def text(self) -> str:
        """Return all words collected so far, thoughts and arguments of tool calls too: what was generated."""
        return "".join(map(_words, self._pieces))

    def append(self, piece: Piece) -> None:
        """Hand a piece to everyone who streams."""
        self._pieces.append(piece)
        self._wake()

    def land(self, entry: Entry, *, from_store: bool = False) -> None:
        """End well. Later calls of `land` and `fail` change nothing."""
        if not self.over:
            self.entry, self.from_store = entry, from_store
            self._wake()

    def fail(self, error: AskonceError) -> None:
        """End badly, for everyone alike."""
        if not self.over:
            self.error = error
            self._wake()

    def restart(self) -> None:
        """Forget the pieces because whoever sent them died; with nobody left who can start afresh, fail."""
        if self._pieces:
            self._pieces = []
            self._epoch += 1
            if self.waiters and self._committed == self.waiters:
                self.fail(FlightLost(LOST))
            self._wake()

    def nudge(self) -> None:
        """Let every seat that waits know that the flight is still in the air."""
        self._nudges += 1
        self._wake()

    def take_seat(self, pays: bool) -> "Seat":
        """Join. `pays` marks the request that made the flight leave."""
        self.waiters += 1
        self.joined += 1
        return Seat(self, pays)

    def _vacate(self) -> None:
        self.waiters -= 1
        if self.waiters == 0 and not self.over:
            self._on_deserted(self)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            if not change.done():  # its seat was cancelled
                change.set_result(None)

    async def _change(self) -> None:
        # A future for each: a shared one would have to be shielded from every cancellation, which costs six times that.
        change = asyncio.get_running_loop().create_future()
        self._waiting.append(change)
        await change


class Seat:
    """Hold one request's place in a flight. It must be left, whatever happens; leaving twice is harmless."""

    def __init__(self, flight: Flight, pays: bool) -> None:
        self.flight = flight
        self.pays = pays
        self._seen = 0
        self._epoch = flight._epoch
        self._nudges = flight._nudges
        self._committed = False
        self._left = False

    async def more(self) -> Sequence[Piece] | None:
        """Wait for what this seat has not had yet, from the first piece on; None once the flight has ended well.

        All that is there is returned together, so that a reader that fell behind catches up at once; nothing (an empty
        sequence) where the flight was nudged. Raises the flight's error, or `FlightLost` where pieces already returned
        were thrown away. If cancelled, nothing was taken and the seat still is.
        """
        flight = self.flight
        while True:
            if self._epoch != flight._epoch:
                if self._seen:
                    raise FlightLost(LOST)
                self._epoch = flight._epoch
            if self._seen < len(flight._pieces):
                fresh = flight._pieces[self._seen :]
                self._seen += len(fresh)
                self._commit()
                return fresh
            if flight.error is not None:
                raise _afresh(flight.error)
            if flight.entry is not None:
                return None
            if self._nudges != flight._nudges:
                self._nudges = flight._nudges
                return ()
            await flight._change()

    async def landed(self) -> Entry:
        """Wait for the end and return the whole answer; raises the flight's error."""
        flight = self.flight
        while flight.entry is None:
            if flight.error is not None:
                raise _afresh(flight.error)
            await flight._change()
        return flight.entry

    def leave(self) -> None:
        """Give the seat back; the last one to leave a flight in the air deserts it."""
        if not self._left:
            self._left = True
            self.flight._committed -= self._committed
            self.flight._vacate()

    def _commit(self) -> None:
        if not self._committed and not self._left:
            self._committed = True
            self.flight._committed += 1


def _words(piece: Piece) -> str:
    return piece.name + piece.arguments if isinstance(piece, ToolDelta) else piece.text


def _afresh(error: AskonceError) -> AskonceError:
    """Take the trace off an error that many raise, so that it does not grow by the frames of each."""
    return error.with_traceback(None)
