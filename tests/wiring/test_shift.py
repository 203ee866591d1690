"""Who is on duty, and what the others do not do."""

import asyncio

import pytest
from tests.state.rows import paid
from tests.state.statefakes import HandClock

from askonce.domain.errors import StoreUnavailable
from askonce.domain.ledger import LEASE_MS, Batch, Record
from askonce.state.duty import AloneDuty
from askonce.wiring.shift import AILING_NS, LOOK_S, STRANGER, DutyOutbox, Shift

LOOKS = int(AILING_NS / 1e9 / LOOK_S)


class HandDuty:
    """Be taken by whom the test says."""

    shared = True

    def __init__(self) -> None:
        self.theirs = ""
        self.away = False
        self.left = 0

    async def take(self, ledger: str) -> str:
        if self.away:
            raise StoreUnavailable("away")
        return self.theirs

    async def leave(self) -> None:
        self.left += 1


class OneRecord:
    """Hold one record."""

    async def append(self, *records: Record) -> None:
        raise NotImplementedError

    async def head(self, size: int) -> Batch | None:
        return Batch("s", 1, 1, (paid(),))

    async def settle(self, last: int) -> None:
        raise NotImplementedError


def test_the_only_worker_is_always_on_duty() -> None:
    shift = Shift(AloneDuty(), HandClock())
    assert shift.on, "before the database is known, too: then it spools"
    assert asyncio.run(shift.look("ledger"))
    assert shift.agreed.is_set()


def test_the_outbox_is_empty_for_whoever_is_not_on_duty_and_the_duty_lapses() -> None:
    clock, duty = HandClock(), HandDuty()
    shift = Shift(duty, clock)
    outbox = DutyOutbox(OneRecord(), shift)
    assert asyncio.run(outbox.head(9)) is None
    duty.theirs = "ledger"
    assert not asyncio.run(shift.look("ledger"))
    assert asyncio.run(outbox.head(9)) is None
    duty.theirs = ""
    assert asyncio.run(shift.look("ledger"))
    assert asyncio.run(outbox.head(9)) is not None
    duty.away = True
    clock.pass_s(LEASE_MS / 1000 - 0.001)
    with pytest.raises(StoreUnavailable):
        asyncio.run(shift.look("ledger"))
    assert shift.on, "nobody else has it yet"
    clock.pass_s(0.001)
    assert asyncio.run(outbox.head(9)) is None


def test_whose_database_is_another_has_no_duty_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    duty = HandDuty()
    shift = Shift(duty, HandClock())
    duty.theirs = "another"
    for _ in range(3):
        assert not asyncio.run(shift.look("ledger"))
    assert shift.objection == STRANGER
    assert not shift.agreed.is_set()
    assert caplog.text.count(STRANGER) == 1
    duty.theirs = ""
    assert asyncio.run(shift.look("ledger"))
    assert not shift.objection
    assert shift.agreed.is_set()


def test_who_cannot_reach_the_database_lets_others_try_and_comes_back() -> None:
    clock, duty = HandClock(), HandDuty()
    shift = Shift(duty, clock)
    seen = []
    for _ in range(3 * LOOKS):
        seen.append(asyncio.run(shift.look("ledger", ailing=True)))
        clock.pass_s(LOOK_S)
    assert seen == [True] * LOOKS + [False] * LOOKS + [True] * LOOKS
    assert duty.left == 1
    assert asyncio.run(shift.look("ledger"))
