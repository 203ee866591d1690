"""Sums on Valkey/Redis: one act per ending, which is done once however often it is sent.

    d + process    which of a process' latest 65,536 endings are booked: two bytes for each, which say in which round

Where the server is away, or its reply was lost, the ending waits in the process and is sent again each second until
the server has it. What still waits when the process ends is told as unbooked, in full.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from os import urandom

from askonce.domain.budget import Settled
from askonce.domain.credentials import mint_id
from askonce.domain.errors import StoreUnavailable
from askonce.domain.ledger import CallRow, Tallied
from askonce.domain.outcome import Spared, Totals
from askonce.state import counters, tally
from askonce.state.lmdb_outbox import OutboxFull, full
from askonce.state.valkey.answers import ValkeyAnswers
from askonce.state.valkey.budget_scripts import BASIC, SETTLE
from askonce.state.valkey.budgets import NOT_SETTLED, ValkeyBudgets
from askonce.state.valkey.counting import ADD, APPEND, TELL, append_args
from askonce.state.valkey.outbox import ValkeyOutbox
from askonce.state.valkey.server import BOOKS, Script, Server, Unsent, Word

MINUTE_MS = 60_000
REMEMBERED = 65_536  # endings of a process: far more than wait, and come before those that wait
ROUNDS = 65_535  # numbers in two bytes, without zero
MARKS_MS = 86_400_000  # after its last ending what is remembered of a process goes
LATE_MAX = 10_000  # endings that wait in a process: some 10 MB
MOST = 2**63 - 1
_FIELDS = {name: number for number, name in enumerate(tally.Tally._fields)}

Lost = Callable[[CallRow | Spared, StoreUnavailable], None]

# Arguments: nothing, the outbox's name if it has none, the ending's id, the tenant, number of sums, place and addition
# of each; then either `APPEND`'s arguments, or 0 and minute, name, nano-dollars and tokens of a counter; then those of
# `settle`. Returns 0 where the outbox is full.
_BOOK = Script(
    BASIC
    + ADD
    + TELL
    + SETTLE
    + APPEND
    + """
local base = KEYS[1]
local process, place, round = string.match(ARGV[3], '^(%x+) (%d+) (%d+)$')
local marks, mark = base .. 'd' .. process, struct.pack('>I2', tonumber(round))
if redis.call('GETRANGE', marks, place, place + 1) == mark then return 1 end
local behind = 6 + 2 * ARGV[5]
local sums = behind - 1
if ARGV[behind] ~= '0' then
  local after, room = append(base, behind)
  if not room then return 0 end
  behind = after
else
  count(base, ARGV[behind + 1], ARGV[behind + 2], '1', ARGV[behind + 3], ARGV[behind + 4])
  behind = behind + 5
end
for place = 6, sums, 2 do add(base .. 'c' .. ARGV[4], ARGV[place], ARGV[place + 1]) end
settle(behind)
redis.call('SETRANGE', marks, place, mark)
redis.call('PEXPIRE', marks, MARKS_MS)
return 1
""".replace("MARKS_MS", str(MARKS_MS))
)


class ValkeyBooks:
    """Count what was paid and what was spared, for all nodes."""

    def __init__(
        self, server: Server, answers: ValkeyAnswers, outbox: ValkeyOutbox, budgets: ValkeyBudgets, lost: Lost
    ) -> None:
        self._server = server
        self._budgets = budgets
        self._process = urandom(8).hex()
        self._endings = 0
        self._answers = answers
        self._outbox = outbox
        self._lost = lost
        self._late: deque[tuple[CallRow | Spared, Settled | None, list[Word]]] = deque()

    async def book(self, ending: CallRow | Spared, settled: Settled | None = None) -> None:
        """Add one ending to its tenant's sums, tell the ledger of it and settle what was reserved for it: one act.

        Server away: it is booked later, by `beat`. Raises `StoreUnavailable` where the outbox is full, or too much
        waits already.
        """
        args = self._args(ending)
        if settled is None:
            args += NOT_SETTLED
        else:
            args += self._budgets.settling(settled.reservation, settled.actual)
        try:
            await self._send(args)
        except OutboxFull:
            self._defer(settled)
            raise
        except StoreUnavailable:
            if len(self._late) >= LATE_MAX:
                self._defer(settled)
                raise
            self._late.append((ending, settled, args))
        except asyncio.CancelledError:
            self._late.append((ending, settled, args))  # perhaps it was done: a second time changes nothing then
            raise

    async def beat(self) -> None:
        """Send what was late again, in order, until it is away once more."""
        while self._late:
            ending, settled, args = self._late[0]
            try:
                await self._send(args)
            except OutboxFull as error:
                self._defer(settled)
                self._lost(ending, error)
            except StoreUnavailable:
                return
            self._late.popleft()

    async def close(self) -> None:
        """Send what was late a last time, and tell what could not be."""
        await self.beat()
        while self._late:
            self._lost(self._late.popleft()[0], StoreUnavailable("Shared state was away until the process ended."))

    @property
    def late(self) -> int:
        """Return how many endings wait."""
        return len(self._late)

    async def totals(self, tenant: str) -> Totals:
        """Return the sums of one tenant, with what is stored now."""
        fields = await self._server.call("HMGET", sums_key(tenant), *_FIELDS.values())
        since_ms = int(await self._server.call("GET", BOOKS + b"since") or 0)
        entries, stored_bytes = await self._answers.measure(tenant)
        return tally.Tally(*(int(field or 0) for field in fields)).totals(entries, stored_bytes, since_ms)

    async def begin(self, now_ms: int) -> None:
        """Note since when there are sums, the first time."""
        await self._server.call("SET", BOOKS + b"since", now_ms, "NX")

    def _defer(self, settled: Settled | None) -> None:
        if settled is not None:
            self._budgets.defer(settled.reservation, settled.actual)

    async def _send(self, args: list[Word]) -> None:
        try:
            done = await self._server.act(_BOOK, [BOOKS], args)
        except Unsent:
            raise
        except StoreUnavailable:  # perhaps it was done: a second time changes nothing then
            done = await self._server.act(_BOOK, [BOOKS], args)
        if not done:
            raise full()

    def _name(self) -> str:
        """Name the next ending: the process, the place of its mark in bytes, and the round of places."""
        round_, place = divmod(self._endings, REMEMBERED)
        self._endings += 1
        return f"{self._process} {2 * place} {round_ % ROUNDS + 1}"

    def _args(self, ending: CallRow | Spared) -> list[Word]:
        tenant = tally.tenant_of(ending)
        sums = [(place, more) for place, more in enumerate(tally.worth(ending)) if more]
        args: list[Word] = [b"", mint_id(), self._name(), sums_name(tenant), len(sums)]
        for place, more in sums:
            args += [place, min(more, MOST)]
        if isinstance(ending, CallRow):
            return [*args, *append_args((ending,), self._outbox.bound)]
        what = Tallied(ending.tenant, ending.key_id, ending.door, ending.provider, ending.model, ending.kind)
        counted: list[Word] = [0, ending.at_ms // MINUTE_MS, counters.packed_name(what)]
        return [*args, *counted, min(ending.saved_nano, MOST), min(ending.saved_tokens, MOST)]


def sums_name(tenant: str) -> bytes:
    """Return what stands for a tenant in the keys of its sums."""
    return tenant.encode("utf-8", "surrogatepass")


def sums_key(tenant: str) -> bytes:
    """Return the key of a tenant's sums."""
    return BOOKS + b"c" + sums_name(tenant)
