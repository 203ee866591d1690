"""The audit as JSON lines that can be checked without the database, and their check.

    {"askonceAudit": 1, "exportedMs": …}
    {"number": 1, "atMs": …, "actor": …, …, "details": {…}, "key": …, "previous": "…", "seal": "…"}
    {"end": true, "first": 1, "last": 9, "rows": 9, "seal": "…", "key": …, "mac": "…"}

The last line vouches for the file: HMAC-SHA256 over the format's name, the numbers and the last seal, so that a file
that was cut is known without anything else at hand. Details stay as they were sealed; a program that writes a line anew
must leave them as they are, letter by letter.
"""

import hmac
from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec
from msgspec import Raw, Struct
from sqlalchemy.ext.asyncio import AsyncEngine

from askonce.domain.credentials import fingerprint
from askonce.domain.ledger import Anchor, AuditRow, Severity
from askonce.ledger.audit_chain import START, UNKNOWN, Checker, Report, Sealed
from askonce.ledger.audit_table import from_number, sealed_of
from askonce.ledger.engine import UNHURRIED, reading

VERSION = 1
LINE_BYTES = 1 << 20  # at the most; no row of ours is nearly as long
_MAC_FORMAT = "askonce-audit-export-1"
_PAGE = 500


class _Head(Struct, frozen=True, rename="camel"):
    askonce_audit: int
    exported_ms: int


class _Line(Struct, frozen=True, rename="camel"):
    number: int
    at_ms: int
    actor: str
    action: str
    subject: str
    tenant: str
    address: str
    request_id: str
    severity: Severity
    details: Raw
    key: str
    previous: str
    seal: str


class _End(Struct, frozen=True, rename="camel"):
    end: bool
    first: int
    last: int
    rows: int
    seal: str
    key: str
    mac: str


_write = msgspec.json.Encoder().encode
_read_head = msgspec.json.Decoder(_Head).decode
_read_line = msgspec.json.Decoder(_Line).decode
_read_end = msgspec.json.Decoder(_End).decode


async def export(
    engine: AsyncEngine, key: bytes, now_ms: int, first: int = 1, last: int = 2**63 - 1
) -> AsyncIterator[bytes]:
    """Yield the lines of an export, each with its line feed: the rows from `first` to `last`.

    One transaction, in memory that does not grow. Raises `LedgerUnavailable`.
    """
    yield _write(_Head(VERSION, now_ms)) + b"\n"
    begun, end, count = 0, START, 0
    async with reading(engine) as connection:
        await connection.execution_options(**{UNHURRIED: True})
        rows = await connection.stream(from_number(first, last).execution_options(yield_per=_PAGE))
        async for fields in rows.mappings():
            sealed = sealed_of(fields)
            begun, end, count = begun or sealed.number, Anchor(sealed.number, sealed.seal), count + 1
            yield _write(_line(sealed)) + b"\n"
    yield _write(_end(key, begun, end, count)) + b"\n"


def verify_export(lines: Iterable[bytes], keys: Sequence[bytes], anchors: Sequence[Anchor] = ()) -> Report:
    """Check the lines of an export. Numbers of findings are those of rows, or of lines where a line is malformed."""
    checker: Checker | None = None
    end: _End | None = None
    count, first, last = 0, 0, START
    strange: list[tuple[int, str]] = []
    for place, line in enumerate(lines, 1):
        if end is not None:
            strange.append((place, "stands behind the end"))
            continue
        read = _parse(line, is_first=place == 1)
        if isinstance(read, _End):
            end = read
        elif isinstance(read, Sealed):
            if checker is None:
                first = read.number
                checker = Checker(keys, _before(first), anchors)
            checker.feed(read)
            count, last = count + 1, Anchor(read.number, read.seal)
        elif read is None:
            strange.append((place, "is no line of an export"))
    checker = checker or Checker(keys, anchors=anchors)
    for place, message in strange:
        checker.find("malformed", place, message)
    if end is None:
        checker.find("truncated", last.number, "is the last row, and the line that ends an export is missing")
    elif not _vouches(end, keys):
        checker.find("truncated", end.last, "is said to be the last row, by a line that is not ours")
    elif (end.first, end.last, end.rows, end.seal) != (first, last.number, count, last.seal.hex()):
        checker.find("truncated", end.last, f"was the last of {end.rows} rows from {end.first} on; this is not all")
    return checker.finish("Rows that came after the export was made are not in it.")


def _parse(line: bytes, *, is_first: bool) -> _Head | Sealed | _End | None:
    """Read a line; None for one that is none of ours."""
    if len(line) > LINE_BYTES:
        return None
    try:
        if is_first:
            head = _read_head(line)
            return head if head.askonce_audit == VERSION else None
        if line.startswith(b'{"end"'):
            return _read_end(line)
        return _sealed(_read_line(line))
    except (msgspec.DecodeError, ValueError):  # of hexadecimal letters, too
        return None


def _before(first: int) -> Anchor:
    return START if first <= 1 else Anchor(first - 1, UNKNOWN)


def _line(sealed: Sealed) -> _Line:
    row = sealed.row
    return _Line(
        sealed.number,
        row.at_ms,
        row.actor,
        row.action,
        row.subject,
        row.tenant,
        row.address,
        row.request_id,
        row.severity,
        row.details,
        sealed.key,
        sealed.previous.hex(),
        sealed.seal.hex(),
    )


def _sealed(line: _Line) -> Sealed:
    row = AuditRow(
        line.at_ms,
        line.actor,
        line.action,
        line.subject,
        line.tenant,
        line.address,
        line.request_id,
        line.severity,
        line.details,
    )
    return Sealed(line.number, row, line.key, bytes.fromhex(line.previous), bytes.fromhex(line.seal))


def _end(key: bytes, first: int, last: Anchor, rows: int) -> _End:
    end = _End(True, first, last.number, rows, last.seal.hex(), fingerprint(key), "")
    return msgspec.structs.replace(end, mac=_mac(key, end))


def _mac(key: bytes, end: _End) -> str:
    told = "\n".join((_MAC_FORMAT, str(end.first), str(end.last), str(end.rows), end.seal, end.key))
    return hmac.digest(key, told.encode(), "sha256").hex()


def _vouches(end: _End, keys: Sequence[bytes]) -> bool:
    known = {fingerprint(key): key for key in keys}
    key = known.get(end.key)
    return key is not None and hmac.compare_digest(_mac(key, end).encode(), end.mac.encode())
