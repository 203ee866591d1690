"""What is told the audit: acts one by one, refusals added up, at most one row of each identity, kind and minute.

Outbox away: open. What was done is done; its row goes into the log instead, in full, so that it can be added by hand.
"""

import logging
from typing import Any

import msgspec
from msgspec import Raw, Struct

from askonce.api.requests import Request
from askonce.domain.caller import Caller
from askonce.domain.clock import Clock
from askonce.domain.errors import AskonceError, StoreUnavailable
from askonce.domain.ledger import AuditRow, Counters, CountKind, Outbox, Severity, Tallied

MINUTE_MS = 60_000
# Identities of one minute that are told apart; a flood from more of them is one row for all the others.
IDENTITIES_MAX = 1_000
OTHERS = "others"

_KINDS: dict[int, CountKind] = {401: "unauthorized", 403: "forbidden", 429: "rate_limited"}
_ACTIONS = {401: "access.refused", 403: "access.refused", 429: "limit.hit"}

_log = logging.getLogger("askonce.audit")


class _Refused(Struct):
    count: int = 0
    tenant: str = ""
    address: str = ""
    request_id: str = ""
    codes: dict[str, int] = {}
    paths: set[str] = set()


class Trail:
    """Write acts down. `outbox` is where the ledger takes them from."""

    def __init__(self, outbox: Outbox, counters: Counters, clock: Clock) -> None:
        self._outbox = outbox
        self._counters = counters
        self._clock = clock
        self._minute = 0
        self._refused: dict[tuple[str, str], _Refused] = {}

    async def note(
        self, who: tuple[Caller, Request], action: str, subject: str, severity: Severity = "info", **details: Any
    ) -> None:
        """Write down one act of somebody (see `row`)."""
        await self._write(self.row(who, action, subject, severity, **details))

    def row(
        self, who: tuple[Caller, Request], action: str, subject: str, severity: Severity = "info", **details: Any
    ) -> AuditRow:
        """Make the row of one act. `details` hold no secrets; `tenant` among them is whose trail it is."""
        caller, request = who
        return AuditRow(
            self._clock.wall_ms(),
            caller.identity,
            action,
            subject,
            details.pop("tenant", caller.tenant),
            caller.address,
            request.id,
            severity,
            Raw(msgspec.json.encode(details)),
        )

    async def refused(self, caller: Caller, request: Request, error: AskonceError, door: str) -> None:
        """Count a refusal for the ledger, and towards the row of its identity and minute."""
        now_ms = self._clock.wall_ms()
        kind = _KINDS.get(error.status, "refused")
        try:
            what = Tallied(caller.tenant, caller.key_id, door, "", "", kind)
            await self._counters.count(now_ms // MINUTE_MS, what)
        except StoreUnavailable:
            pass  # a refusal is no less one for not being counted
        await self.add_up(caller, request, error)

    async def add_up(self, caller: Caller, request: Request, error: AskonceError) -> None:
        """Add a refusal to the row of its identity and minute; what is no matter of access or limits is left out."""
        action = _ACTIONS.get(error.status)
        if action is None:
            return
        now_ms = self._clock.wall_ms()
        if now_ms // MINUTE_MS != self._minute:
            await self.flush(now_ms)
        place = (caller.identity, action)
        if place not in self._refused and len(self._refused) >= IDENTITIES_MAX:
            place = (OTHERS, action)
        sums = self._refused.setdefault(place, _Refused(0, caller.tenant, caller.address, request.id, {}, set()))
        sums.count += 1
        sums.codes[error.code] = sums.codes.get(error.code, 0) + 1
        if len(sums.paths) < 5:
            sums.paths.add(f"{request.method} {request.path[:100]}")

    async def flush(self, now_ms: int | None = None) -> None:
        """Write down what was refused in the minute that is over; without a time all of it. For each second."""
        minute = None if now_ms is None else now_ms // MINUTE_MS
        if minute == self._minute:
            return
        rows, at_ms = self._refused, self._minute * MINUTE_MS
        self._refused, self._minute = {}, self._minute if minute is None else minute
        for (identity, action), sums in rows.items():
            details = {"count": sums.count, "codes": sums.codes, "paths": sorted(sums.paths)}
            raw = Raw(msgspec.json.encode(details))
            await self._write(
                AuditRow(at_ms, identity, action, "", sums.tenant, sums.address, sums.request_id, "notice", raw)
            )

    async def _write(self, row: AuditRow) -> None:
        try:
            await self._outbox.append(row)
        except StoreUnavailable as error:
            _log.error("not in the audit (%s): %s", error.message, msgspec.json.encode(row).decode())
