"""Duty over Valkey or Redis: which worker of all nodes does what is to be done once for all of them.

{b}du   the worker on duty, and into which database it brings what happened; for `LEASE_MS`
"""

from askonce.domain.ledger import LEASE_MS
from askonce.state.valkey.server import BOOKS, Script, Server

_DUTY = BOOKS + b"du"

# Arguments: the worker, the part of its name that its successor has too, its database, for how long.
# Returns the database of whoever has it, nothing where that is the worker itself.
_TAKE = Script("""
local held = redis.call('GET', KEYS[1])
if held then
  local worker, ledger = string.match(held, '^(%S+) (.*)$')
  if worker ~= ARGV[1] and string.sub(worker, 1, #ARGV[2]) ~= ARGV[2] then return ledger end
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[3], 'PX', ARGV[4])
return false
""")
_LEAVE = Script("""
local held = redis.call('GET', KEYS[1])
if held and string.match(held, '^%S+') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
""")


class ValkeyDuty:
    """Give the duty to one worker of all nodes (port `Duty`); `owner` is the `node/slot:incarnation` of this one."""

    shared = True

    def __init__(self, server: Server, owner: str) -> None:
        self._server = server
        self._owner = owner.encode()
        self._place = self._owner.rpartition(b":")[0] + b":"  # a predecessor in it is dead

    async def take(self, ledger: str) -> str:
        """Take or keep it."""
        held = await self._server.act(_TAKE, [_DUTY], [self._owner, self._place, ledger, LEASE_MS])
        return "" if held is None else held.decode()

    async def leave(self) -> None:
        """Let others have it now."""
        await self._server.act(_LEAVE, [_DUTY], [self._owner])
