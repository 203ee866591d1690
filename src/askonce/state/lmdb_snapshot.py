"""The sums as a small synced file: what is left of the books when the machine loses its power.

{"format": 2, "since_ms": …, "tenants": {hex of the key: [eleven sums, in the order of `tally`]},
"budgets": {hex of a meter's key: sums of its period}, "anchor": the noted end of the audit's chain}
"""

import logging
import os
from pathlib import Path

import msgspec
from msgspec import Struct

from askonce.domain.ledger import Anchor
from askonce.state import anchors, lmdb_budgets, tally
from askonce.state.lmdb_books import SUMS
from askonce.state.lmdb_files import MARK_KEY, Txn
from askonce.state.lmdb_outbox import OURS
from askonce.state.lmdb_records import walk

FORMAT = 2
NAME = "counters.json"
FEWEST = 11  # sums of a tenant in this format, in the first version that wrote it
_ACCOUNTS = b"i"  # keys and logins, which run on wall time
_LASTING = frozenset({SUMS, OURS, MARK_KEY, _ACCOUNTS})

_log = logging.getLogger("askonce.state")


class Snapshot(Struct, frozen=True):
    """Hold all tenants' and budgets' sums, by the hexadecimal keys under which the books have them."""

    since_ms: int
    tenants: dict[str, tuple[int, ...]] = {}
    budgets: dict[str, tuple[int, ...]] = {}
    anchor: Anchor | None = None
    format: int = FORMAT


def draw(txn: Txn, since_ms: int) -> Snapshot:
    """Copy all sums out of the books."""
    with txn.cursor() as cursor:
        tenants: dict[str, tuple[int, ...]] = {key.hex(): tally.read(sums) for key, sums in walk(cursor, SUMS, SUMS)}
    return Snapshot(since_ms, tenants, lmdb_budgets.draw(txn), anchors.read(txn))


def restore(txn: Txn, snapshot: Snapshot) -> None:
    """Write all sums into empty books."""
    for key, sums in snapshot.tenants.items():
        txn.put(bytes.fromhex(key), tally.TALLY.pack(*tally.Tally(*sums)))
    lmdb_budgets.restore(txn, snapshot.budgets)
    if snapshot.anchor is not None:
        anchors.note(txn, snapshot.anchor)


def end_boot(txn: Txn) -> None:
    """Delete what ended with the boot that wrote the books, which were closed cleanly.

    Sums, the outbox with its counters, the noted end of the audit, keys and logins stay; budgets keep what was used.
    """
    used = lmdb_budgets.draw(txn)
    with txn.cursor() as cursor:
        more = cursor.first()
        while more:
            more = cursor.next() if cursor.key()[:1] in _LASTING else cursor.delete() and bool(cursor.key())
    lmdb_budgets.restore(txn, used)


def write(folder: Path, snapshot: Snapshot) -> None:
    """Replace the file at once and wait until it is on the disk; raises `OSError`. Waits: not for the event loop."""
    path = folder / NAME
    draft = path.with_suffix(".tmp")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(snapshot))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read(folder: Path) -> Snapshot | None:
    """Return what the file holds, or None. One that cannot be read is renamed and reported in the log."""
    path = folder / NAME
    try:
        snapshot = msgspec.json.decode(path.read_bytes(), type=Snapshot)
        sound = snapshot.format == FORMAT and all(
            FEWEST <= len(sums) <= len(tally.Tally._fields) for sums in snapshot.tenants.values()
        )
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        sound = False
    if sound:
        return snapshot
    path.replace(path.with_suffix(".broken"))
    _log.warning("%s could not be read: renamed to counters.broken; the sums begin anew", NAME)
    return None
