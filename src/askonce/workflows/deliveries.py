"""Tells webhooks how jobs ended: signed, again and again until they say that they have it.

    an end's row ─▶ taken for a minute ─▶ POST ─▶ 2xx: delivered
                          ▲                └──else: due again after a pause that doubles ──▶ a day later: given up
                          └── whoever took it died

At least once, with the same id each time. A receiver that hangs keeps but a few tries waiting, and those of its own.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import msgspec
from msgspec import Struct

from askonce.domain.clock import Clock
from askonce.domain.errors import DatabaseAway
from askonce.domain.executions import Execution, Executions, Notice, Notices, NoticeState
from askonce.wire.signature import signed_headers
from askonce.workflows.result import ExecutionDocument, execution_document
from askonce.workflows.webhooks import host_of, webhook_problem

LOOK_S = 1.0  # so long an end waits at most, when its receiver takes it
AWAY_S = 5.0  # between two tries at a database that is away
MOST = 16  # posts side by side: what hangs does so for 15 seconds, and needs no more than a socket
MOST_OF_A_HOST = 4
TAKEN_MS = 60_000  # a try takes 15 seconds at most; what is not settled by then, somebody died with
FIRST_WAIT_MS = 5_000  # after the first failure; doubled with every further one
LONGEST_WAIT_MS = 3_600_000
GIVE_UP_MS = 86_400_000  # executions themselves are not kept longer, unless they failed
LINK, RESULT = "/llm/executions/{}", "/llm/jobs/{}/result"

# Sends a body with these headers to an address; returns "" or why it was not taken.
Send = Callable[[str, bytes, tuple[tuple[str, str], ...]], Awaitable[str]]
_log = logging.getLogger("askonce.worker")


class Post(Struct, frozen=True):
    """Hold what is posted with: `keys` sign, that in force first; `hosts` are those that may be told (`webhooks`)."""

    send: Send
    keys: tuple[bytes, ...]
    hosts: Sequence[str]


class NoticeBody(Struct, frozen=True, rename="camel"):
    """Write what a webhook is told: never a prompt, nor an answer. `result` is the path of that."""

    id: str
    type: str
    at_ms: int
    execution: ExecutionDocument
    result: str


class Deliveries:
    """Deliver notices."""

    def __init__(
        self,
        notices: Notices,
        executions: Executions,
        post: Post,
        clock: Clock,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._notices = notices
        self._executions = executions
        self._post = post
        self._clock = clock
        self._dice = dice
        self._flying: Counter[str] = Counter()

    async def run(self) -> None:
        """Go on until cancelled; then what is just being sent may come once more."""
        async with asyncio.TaskGroup() as group:
            landed = asyncio.Event()
            while True:
                try:
                    taken = await self._take()
                except DatabaseAway:
                    await asyncio.sleep(AWAY_S)
                    continue
                if taken is None:
                    landed.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_S):
                            await landed.wait()
                    continue
                host = host_of(taken[1].submission.webhook)
                self._flying[host] += 1
                group.create_task(self._fly(*taken, host, landed))

    async def step(self) -> bool:
        """Try the notice that is due longest; False where none is. Raises `DatabaseAway`."""
        taken = await self._take()
        if taken is not None:
            await self._deliver(*taken)
        return taken is not None

    async def _take(self) -> tuple[Notice, Execution] | None:
        """Take a notice with its execution; raises `DatabaseAway`."""
        while self._flying.total() < MOST:
            now_ms = self._clock.wall_ms()
            full = [host for host, count in self._flying.items() if count >= MOST_OF_A_HOST]
            notice = await self._notices.take(full, now_ms, now_ms + TAKEN_MS)
            if notice is None:
                return None
            execution = await self._executions.find(notice.execution, None)
            # Resumed, or deleted, since: there is no such end any more.
            if execution is not None and execution.round == notice.round and execution.has_ended:
                return notice, execution
        return None

    async def _fly(self, notice: Notice, execution: Execution, host: str, landed: asyncio.Event) -> None:
        try:
            await self._deliver(notice, execution)
        except DatabaseAway as error:
            _log.warning("what came of telling a webhook could not be written; it will be told again: %s", error)
        finally:
            self._flying[host] -= 1
            if not self._flying[host]:
                del self._flying[host]
            landed.set()

    async def _deliver(self, notice: Notice, execution: Execution) -> None:
        """Try once, and write what came of it. Raises `DatabaseAway`."""
        url, tries = execution.submission.webhook, notice.tries + 1
        body = notice_body(execution)
        problem = webhook_problem(url, self._post.hosts)  # the setting may be another one by now
        refused = bool(problem)
        if not refused:
            headers = signed_headers(self._post.keys, self._clock.wall_ms() // 1000, body)
            problem = await self._post.send(url, body, headers)
        now_ms = self._clock.wall_ms()
        # Its path may be secret; its host is not.
        told = (execution.id, host_of(url), problem)
        if not problem:
            state = NoticeState("delivered", tries, "", 0)
        elif refused or now_ms - notice.made_ms >= GIVE_UP_MS:
            _log.error("the end of %s was not delivered to %s, which is given up: %s", *told)
            state = NoticeState("given_up", tries, problem, 0)
        else:
            _log.warning("the end of %s was not delivered to %s, and will be sent again: %s", *told)
            state = NoticeState("pending", tries, problem, now_ms + self._pause_ms(notice.tries))
        await self._notices.settle(notice, state)

    def _pause_ms(self, tries: int) -> int:
        bound = min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** min(tries, 20))
        return int(bound * (0.5 + self._dice() / 2))


def notice_body(execution: Execution) -> bytes:
    """Write what a webhook is told of a round that has ended."""
    body = NoticeBody(
        f"{execution.id}.{execution.round}",
        f"execution.{execution.status}",
        execution.ended_ms,
        execution_document(execution, LINK.format(execution.id)),
        RESULT.format(execution.id),
    )
    return msgspec.json.encode(body)
