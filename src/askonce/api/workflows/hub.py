"""The events of executions, for all who follow them from this process: one look at the store for everybody.

    store ◀─ one look each 100 ms, for all that are followed ─▶ the latest of each ◀─ readers, each at its own pace
      ▲                                                                                  │
      └────────────── a page, for a reader that is behind the latest ────────────────────┘

Readers hold a number, not a queue: who reads slowly is left behind the latest events, and catches up by pages of the
store. So nothing grows with slowness, and nothing is lost or told twice. Nobody follows: nobody looks.

Store away: open. Readers wait, and go on where they were.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from askonce.domain.errors import DatabaseAway
from askonce.domain.executions import Event, Executions

LOOK_S = 0.1  # what people take for at once
AWAY_S = 1.0  # between looks at a database that does not answer
KEEP_ALIVE_S = 15.0  # proxies close what is silent for a minute, some for half of that
PAGE = 500  # events of one look; more are looked for at once
TOGETHER = 200  # executions that are asked for in one query, whose conditions databases bound
# The latest events of one execution that are held for all its readers: some seconds of words of a busy one, which are
# at most 2 kB each.
LATEST = 128


class _Followed:
    """Hold one execution's latest events: those behind `base`, up to `known`, without a gap."""

    def __init__(self, known: int) -> None:
        self.known = known
        self.readers = 0
        self.over = -1  # the number behind which the store had nothing, after an end
        self.turn = asyncio.Lock()
        self.is_closed = False
        self._latest: deque[Event] = deque(maxlen=LATEST)
        self._bell = asyncio.Event()

    @property
    def base(self) -> int:
        """Return the number behind which events are held."""
        return self.known - len(self._latest)

    def behind(self, after: int) -> Sequence[Event] | None:
        """Return the events behind a number; None where some of them are not held any more."""
        if after < self.base:
            return None
        return tuple(event for event in self._latest if event.number > after)

    def add(self, events: Sequence[Event]) -> None:
        """Hold the next events, and wake whoever waits for them."""
        for event in events:
            if event.number == self.known + 1:
                self._latest.append(event)
                self.known = event.number
        self.ring()

    def ring(self) -> None:
        """Wake whoever waits."""
        bell, self._bell = self._bell, asyncio.Event()
        bell.set()

    async def changed(self, seconds: float) -> bool:
        """Wait for more, at most so long; say whether there was any, or nothing is waited for any more."""
        if self.is_closed:
            return True
        bell = self._bell
        try:
            async with asyncio.timeout(seconds):
                await bell.wait()
        except TimeoutError:
            return False
        return True


class Hub:
    """Follow executions. `open` opens the store; `defect` is told what should never happen."""

    def __init__(
        self,
        open: Callable[[], Awaitable[Executions]],
        defect: Callable[[BaseException], None],
        look_s: float = LOOK_S,
        keep_alive_s: float = KEEP_ALIVE_S,
        away_s: float = AWAY_S,
    ) -> None:
        self._open = open
        self._defect = defect
        self._look_s = look_s
        self._keep_alive_s = keep_alive_s
        self._away_s = away_s
        self._followed: dict[str, _Followed] = {}
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """Say whether this process stops: nobody is told more here."""
        return self._closed

    async def follow(self, id: str, after: int) -> AsyncGenerator[Sequence[Event], None]:
        """Yield the events behind `after`, in order, as they come; () where none came for 15 seconds.

        It ends after the last one of an execution that has ended, and where the hub is closed. `after` is a number
        that was told, or 0. Whoever leaves loses nothing: following again behind the last event goes on.
        """
        with self._reader(id, after) as followed:
            while not self._closed:
                events = followed.behind(after)
                if events is None:
                    events = await self._page(id, after)
                if events:
                    yield events
                    after = events[-1].number
                    if events[-1].kind == "done" and await self._is_over(followed, id, after):
                        return
                elif not await followed.changed(self._keep_alive_s):
                    yield ()

    async def close(self) -> None:
        """Let all readers end where they are, and look no more."""
        self._closed = True
        for followed in self._followed.values():
            followed.is_closed = True
            followed.ring()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    @contextmanager
    def _reader(self, id: str, after: int) -> Iterator[_Followed]:
        followed = self._followed.get(id)
        if followed is None:
            followed = self._followed[id] = _Followed(after)
        followed.readers += 1
        self._look_on()
        try:
            yield followed
        finally:
            followed.readers -= 1
            if not followed.readers:
                del self._followed[id]

    def _look_on(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        """Look for more, while anybody follows. A defect of one look is told of once, and must not silence the next."""
        is_sound = True
        while self._followed and not self._closed:
            try:
                is_more = await self._once()
            except DatabaseAway:
                await asyncio.sleep(self._away_s)
                continue
            except Exception as error:
                if is_sound:
                    self._defect(error)
                is_sound = False
                await asyncio.sleep(self._away_s)
                continue
            is_sound = True
            if not is_more:
                await asyncio.sleep(self._look_s)

    async def _once(self) -> bool:
        """Look once at everything that is followed; say whether there is more than fits one look."""
        ids, is_more = list(self._followed), False
        for first in range(0, len(ids), TOGETHER):
            known = {id: self._followed[id].known for id in ids[first : first + TOGETHER] if id in self._followed}
            events = await self._events(known)
            is_more = is_more or len(events) == PAGE
            for id, of_one in _apart(events).items():
                followed = self._followed.get(id)
                if followed is not None:  # its last reader may have left meanwhile
                    followed.add(of_one)
        return is_more

    async def _is_over(self, followed: _Followed, id: str, end: int) -> bool:
        """Say whether an end was the last one: what was resumed goes on behind it. One reader asks for all."""
        async with followed.turn:
            if followed.over != end and not await self._page(id, end):
                followed.over = end
            return followed.over == end

    async def _page(self, id: str, after: int) -> Sequence[Event]:
        """Return a page of one execution's events, however long that takes; none where the hub is closed meanwhile."""
        while not self._closed:
            try:
                return await self._events({id: after})
            except DatabaseAway:
                await asyncio.sleep(self._away_s)
        return ()

    async def _events(self, after: Mapping[str, int]) -> Sequence[Event]:
        return await (await self._open()).events(after, PAGE)


def _apart(events: Sequence[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {}
    for event in events:
        found.setdefault(event.execution, []).append(event)
    return found
