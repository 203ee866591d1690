"""The audit's chain, apart from where it is kept: what a seal covers, and how a chain is checked.

    seal = HMAC-SHA256(key, previous seal + row)

A row is written for sealing as its texts, each behind its length in four bytes: the format's name, number, time, actor,
action, subject, tenant, address, request id, severity, details, and the key's name. The first row's previous seal is 32
zero bytes. Each row keeps the previous seal beside its own, so that a row can be checked where its neighbour is gone.
"""

import hmac
from collections.abc import Sequence
from itertools import chain
from typing import Literal

from msgspec import Struct

from askonce.domain.credentials import fingerprint
from askonce.domain.ledger import Anchor, AuditRow

FORMAT = "askonce-audit-1"
GENESIS = bytes(32)
START = Anchor(0, GENESIS)  # what stands before a chain's first row
UNKNOWN = b""  # as the seal before the first row: nobody knows it, so that row's link is not checked
FINDINGS_MAX = 100  # told one by one; a chain that is broken throughout says no more in a million lines
REACH = 64  # numbers around a row's own that are tried in order to say where it was moved from

Kind = Literal[
    "edited",  # a row is not what was sealed, or nobody sealed it
    "moved",  # a row stands under another number than it was sealed with
    "missing",  # numbers are left out
    "duplicated",  # a number comes twice
    "disordered",  # numbers go back
    "unlinked",  # a row was not sealed behind the one before it
    "replaced",  # where an anchor was noted there is another row now
    "tail_missing",  # the chain ends before its noted end
    "unknown_key",  # sealed with a key that we do not have
    "unlocked",  # the table can be changed: its triggers are gone
    "malformed",  # a line of an export is none of ours
    "truncated",  # an export has no end, or not its own
]


class Sealed(Struct, frozen=True):
    """Hold a row of the chain. `key` names the key of its seal."""

    number: int
    row: AuditRow
    key: str
    previous: bytes
    seal: bytes


class Finding(Struct, frozen=True):
    """Say what is wrong, from which number (or line) on."""

    kind: Kind
    number: int
    message: str


class Report(Struct, frozen=True):
    """Tell what a check found. `last` is the end of what was read, None where there was nothing.

    `findings` are the first of `wrong` many. `unproven` says what this check cannot know, in sentences.
    """

    rows: int
    first: int
    last: Anchor | None
    findings: tuple[Finding, ...]
    wrong: int
    unproven: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Say whether nothing is wrong."""
        return not self.wrong


def make_seal(key: bytes, previous: bytes, number: int, row: AuditRow) -> bytes:
    """Seal a row behind another."""
    return hmac.digest(key, previous + canonical(number, row, fingerprint(key)), "sha256")


def canonical(number: int, row: AuditRow, key_name: str) -> bytes:
    """Write down what a seal covers, so that different rows never give the same bytes."""
    texts = (
        FORMAT,
        str(number),
        str(row.at_ms),
        row.actor,
        row.action,
        row.subject,
        row.tenant,
        row.address,
        row.request_id,
        row.severity,
        bytes(row.details).decode("utf-8", "surrogateescape"),
        key_name,
    )
    raw = [text.encode("utf-8", "surrogateescape") for text in texts]
    return b"".join(len(each).to_bytes(4, "big") + each for each in raw)


def write_anchor(anchor: Anchor) -> str:
    """Write an anchor as `number:seal`, as the log has it."""
    return f"{anchor.number}:{anchor.seal.hex()}"


def read_anchor(text: str) -> Anchor:
    """Read `number:seal`. Raises `ValueError`."""
    number, _, seal = text.partition(":")
    raw = bytes.fromhex(seal)
    if not number.isascii() or not number.isdigit() or len(raw) != len(GENESIS):
        raise ValueError("an anchor is a number, a colon, and 64 hexadecimal letters")
    return Anchor(int(number), raw)


class Checker:
    """Look at a chain's rows as they come, then report. `keys`: that in force first, then the former.

    `before` is what stands before the first row: `START` for a whole chain.
    """

    def __init__(
        self,
        keys: Sequence[bytes],
        before: Anchor = START,
        anchors: Sequence[Anchor] = (),
    ) -> None:
        self._keys = {fingerprint(key): key for key in keys}
        self._before = before
        self._anchors = {anchor.number: anchor for anchor in anchors}
        self._conflicting = [each for each in anchors if self._anchors[each.number].seal != each.seal]
        self._last = before
        self._first = 0
        self._rows = 0
        self._findings: list[Finding] = []
        self._wrong = 0
        self._key = ""
        self._former: list[str] = []
        self._key_came_back = 0

    def feed(self, sealed: Sealed) -> None:
        """Look at the next row."""
        self._rows += 1
        self._first = self._first or sealed.number
        following = self._check_number(sealed.number)
        self._check_seal(sealed)
        if following and self._last.seal != UNKNOWN and sealed.previous != self._last.seal:
            self.find("unlinked", sealed.number, "was not sealed behind the row before it")
        anchor = self._anchors.get(sealed.number)
        if anchor is not None and anchor.seal != sealed.seal:
            self.find("replaced", sealed.number, "is not the row whose seal was noted as the chain's end")
        if sealed.number >= self._last.number:
            self._last = Anchor(sealed.number, sealed.seal, sealed.row.at_ms)

    def find(self, kind: Kind, number: int, message: str) -> None:
        """Note that something is wrong."""
        self._wrong += 1
        if len(self._findings) < FINDINGS_MAX:
            self._findings.append(Finding(kind, number, message))

    def finish(self, *unproven: str) -> Report:
        """Compare the end with the anchors, and report. `unproven` is what else cannot be known."""
        for anchor in self._conflicting:
            self.find("replaced", anchor.number, "was noted as the chain's end with two different seals")
        for anchor in self._anchors.values():
            if anchor.number > self._last.number:
                self.find(
                    "tail_missing", self._last.number + 1, f"up to {anchor.number} at least, are missing at the end"
                )
        last = self._last if self._rows else None
        doubts = (*self._doubts(), *unproven)
        return Report(self._rows, self._first, last, tuple(self._findings), self._wrong, doubts)

    def _check_number(self, number: int) -> bool:
        """Say whether the row directly follows the one before it."""
        last = self._last.number
        if number == last and self._rows > 1:
            self.find("duplicated", number, "comes twice")
        elif number < last:
            self.find("disordered", number, f"comes behind {last}")
        elif number > last + 1:
            self.find("missing", last + 1, f"up to {number - 1}, are missing" if number > last + 2 else "is missing")
        return number == last + 1

    def _check_seal(self, sealed: Sealed) -> None:
        key = self._keys.get(sealed.key)
        if key is None:
            name = sealed.key[:16]
            self.find("unknown_key", sealed.number, f"was sealed with a key that is not known here ({name!r})")
            return
        self._note_key(sealed)
        if hmac.compare_digest(make_seal(key, sealed.previous, sealed.number, sealed.row), sealed.seal):
            return
        origin = _find_origin(key, sealed)
        if origin is None:
            self.find("edited", sealed.number, "is not what was sealed, or nobody sealed it")
        else:
            self.find("moved", sealed.number, f"was sealed as number {origin}")

    def _note_key(self, sealed: Sealed) -> None:
        if sealed.key != self._key:
            if sealed.key in self._former:
                self._key_came_back = self._key_came_back or sealed.number
            self._former.append(self._key)
            self._key = sealed.key

    def _doubts(self) -> list[str]:
        doubts = ["Who holds the key (ASKONCE_SECRET) can make a chain anew: only ends noted elsewhere would show it."]
        if self._before.number or self._first > 1:
            doubts.append("Rows before the first one that was read were not looked at.")
        noted = max((number for number in self._anchors if number <= self._last.number), default=0)
        if not self._anchors:
            doubts.append("No end was ever noted: rows that were deleted from the end would not be missed.")
        elif noted == self._last.number:
            doubts.append(f"Rows that came after number {noted} and are gone again would not be missed.")
        else:
            doubts.append(f"Behind number {noted}, the last noted end, rows deleted from the end would not be missed.")
        if self._key_came_back:
            doubts.append(
                f"From number {self._key_came_back} on a former key seals again: who held it may have written that."
            )
        return doubts


def _find_origin(key: bytes, sealed: Sealed) -> int | None:
    """Say under which near number, or at the chain's beginning, this row was sealed."""
    near = range(max(1, sealed.number - REACH), sealed.number + REACH + 1)
    for number in chain(near, range(1, REACH)):
        if hmac.compare_digest(make_seal(key, sealed.previous, number, sealed.row), sealed.seal):
            return number
    return None
