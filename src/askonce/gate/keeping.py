"""What the ledger keeps besides its sums, because people want to look at it: some of the answers that cost nothing, and
texts. Store away, or no room left: they are left out, and nobody waits for them.
"""

from collections.abc import Callable

import msgspec
from msgspec import Struct

from askonce.domain.answer import Answer, Entry
from askonce.domain.call import Call
from askonce.domain.clock import Clock
from askonce.domain.content import Text
from askonce.domain.errors import StoreUnavailable
from askonce.domain.ledger import CountKind, Outbox, SampleRow, TextRow
from askonce.gate.plan import Plan, Visit

TEXT_BYTES = 256 << 10  # of a question, and of an answer: more than most windows hold
_encoder = msgspec.json.Encoder()


class Keeping(Struct, frozen=True):
    """Say what is kept: which share (0 to 1) of the answers that cost nothing, and whether texts are."""

    samples: float = 0.0
    texts: bool = False


class Keeper:
    """Keep it. `dice` returns uniform numbers from 0 to 1."""

    def __init__(self, outbox: Outbox, keeping: Keeping, clock: Clock, dice: Callable[[], float]) -> None:
        self._outbox = outbox
        self._keeping = keeping
        self._clock = clock
        self._dice = dice

    async def spared(self, visit: Visit, entry: Entry, kind: CountKind) -> None:
        """Keep a row of an answer that cost nothing, if its turn has come."""
        if self._dice() >= self._keeping.samples:
            return
        at_ms, origin = self._clock.wall_ms(), visit.origin(entry.tenant)
        await self._append(
            SampleRow(at_ms, origin, entry.provider, entry.model, kind, entry.cost_nano, visit.took_ms())
        )

    async def answered(self, plan: Plan, answer: Answer) -> None:
        """Keep what was asked and answered, if that is switched on."""
        if not self._keeping.texts:
            return
        question, cut = _bounded(_question(plan.ask.call))
        said, cut_too = _bounded(_encoder.encode(answer.parts or (Text(answer.text),)))
        row = TextRow(self._clock.wall_ms(), plan.origin, answer.provider, answer.model, question, said, cut or cut_too)
        await self._append(row)

    async def _append(self, row: SampleRow | TextRow) -> None:
        try:
            await self._outbox.append(row)
        except StoreUnavailable:
            return


def _question(call: Call) -> bytes:
    return _encoder.encode({"messages": call.messages, "tools": call.tools, "params": call.params})


def _bounded(json: bytes) -> tuple[str, bool]:
    return json[:TEXT_BYTES].decode("utf-8", "ignore"), len(json) > TEXT_BYTES
