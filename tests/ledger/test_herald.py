"""A webhook hears of an alert until it has it, later and later, and can tell that it was us."""

import asyncio
import hashlib
import hmac
from pathlib import Path

import pytest
from tests.ledger.test_alerts import ALERT, outbox_of
from tests.state.statefakes import HandClock

from askonce.ledger.alerts import GIVE_UP_MS, AlertBox, NotingOutbox
from askonce.ledger.herald import FIRST_WAIT_MS, LONGEST_WAIT_MS, Herald
from askonce.wire.signature import SIGNATURE, sign


class Receiver:
    """Take what is sent, once it has refused so often."""

    def __init__(self, refuses: int = 0) -> None:
        self.seen: list[tuple[bytes, dict[str, str]]] = []
        self._refuses = refuses

    async def __call__(self, body: bytes, headers: tuple[tuple[str, str], ...]) -> str:
        self.seen.append((body, dict(headers)))
        return "it answered 503" if len(self.seen) <= self._refuses else ""


async def deliver(folder: Path, clock: HandClock, receiver: Receiver, passes_s: float, steps: int) -> list[bool]:
    """Let a herald step, some seconds passing after each."""
    box = AlertBox(folder, clock, wanted=True)
    try:
        await NotingOutbox(OUTBOX, box).head(9)
        herald = Herald(box, receiver, (b"new", b"old"), clock, dice=lambda: 1.0)
        did = []
        for _ in range(steps):
            did.append(await herald.step())
            clock.pass_s(passes_s)
        return did
    finally:
        await box.close()


OUTBOX = outbox_of(ALERT)


def test_a_signature_is_over_the_time_and_the_body_by_each_key() -> None:
    expected = [hmac.new(key, b"12.{}", hashlib.sha256).hexdigest() for key in (b"new", b"old")]
    assert sign((b"new", b"old"), 12, b"{}") == f"t=12,v1={expected[0]},v1={expected[1]}"


def test_it_is_sent_once_where_it_is_taken(tmp_path: Path) -> None:
    clock, receiver = HandClock(), Receiver()
    at_s = clock.wall_ms() // 1000
    assert asyncio.run(deliver(tmp_path, clock, receiver, 10, 3)) == [True, False, False]
    [(body, headers)] = receiver.seen
    assert headers["Content-Type"] == "application/json"
    assert headers[SIGNATURE] == sign((b"new", b"old"), at_s, body)


def test_it_is_sent_again_with_growing_pauses_by_whatever_process(tmp_path: Path) -> None:
    clock, receiver = HandClock(), Receiver(refuses=3)
    wait_s = FIRST_WAIT_MS / 1000
    sent = []
    for _ in range(8):
        [did] = asyncio.run(deliver(tmp_path, clock, receiver, wait_s, 1))
        sent.append(did)
    assert sent == [True, True, False, True, False, False, False, True]
    assert len({body for body, _ in receiver.seen}) == 1
    assert len({headers[SIGNATURE] for _, headers in receiver.seen}) == 4, "each is signed when it is sent"


def test_pauses_are_an_hour_at_the_most_and_after_three_days_it_is_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, receiver = HandClock(), Receiver(refuses=1000)
    hours = GIVE_UP_MS // LONGEST_WAIT_MS
    did = asyncio.run(deliver(tmp_path, clock, receiver, LONGEST_WAIT_MS / 1000, hours + 5))
    assert did == [True] * (hours + 2) + [False] * 3
    assert "given up" in caplog.text
