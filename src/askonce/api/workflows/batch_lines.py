"""The lines of a batch, in the shape of OpenAI's batch files: all of them are found right before any is written."""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from askonce.api.workflows.bodies import ATTEMPTS, BATCH_LINES_MAX
from askonce.api.workflows.questions import read_question
from askonce.api.workflows.submitting import Order
from askonce.domain.call import Ask
from askonce.domain.errors import AskonceError, Detail, Invalid
from askonce.wire.codecs import CODECS
from askonce.wire.strict import PROBLEMS_MAX, invalid, problems_of

LINE_MAX = 1 << 20  # bytes
CUSTOM_ID_MAX = 200


class _Line(Struct, frozen=True, forbid_unknown_fields=True):
    custom_id: str
    method: str
    url: str
    body: dict[str, Any]


class Line(Struct, frozen=True):
    """Hold a line that was found right."""

    ask: Ask
    order: Order


def read_lines(raw: bytes, tenant: str) -> list[Line]:
    """Find all lines right. Raises `Invalid`, which names those that are not."""
    lines = [line for line in raw.split(b"\n") if line.strip()]
    if not lines:
        raise Invalid(
            'The body holds no line. Send one question a line, such as {"custom_id": "1", "method": "POST", '
            '"url": "/llm/generate", "body": {"prompt": "hello"}}.'
        )
    if len(lines) > BATCH_LINES_MAX:
        raise Invalid(f"The body holds {len(lines):,} lines; send at most {BATCH_LINES_MAX:,} at once.")
    problems: list[Detail] = []
    orders: list[Line] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        found = list(_problems(number, line, seen))
        problems += [Detail(f"lines[{number}].{one.field}", one.problem) for one in found]
        if len(problems) >= PROBLEMS_MAX:
            break
        if not found:
            try:
                orders.append(_read(msgspec.json.decode(line, type=_Line), tenant))
            except AskonceError as error:
                within = error.details or (Detail("", error.message),)
                problems += [Detail(f"lines[{number}].body.{one.field}".rstrip("."), one.problem) for one in within]
    if problems:
        raise invalid(problems[:PROBLEMS_MAX])
    return orders


def _problems(number: int, line: bytes, seen: dict[str, int]) -> Iterator[Detail]:
    """Say what is wrong with a line around its body."""
    if len(line) > LINE_MAX:
        yield Detail("body", f"is on a line of more than {LINE_MAX:,} bytes")
        return
    try:
        told = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        yield Detail("body", "is on a line that is not JSON in UTF-8")
        return
    if not isinstance(told, dict):
        yield Detail("body", "is on a line that is no JSON object")
        return
    found = problems_of(_Line, told)
    yield from found
    if found:
        return
    id = told["custom_id"]
    if not 0 < len(id) <= CUSTOM_ID_MAX or not id.isprintable():
        yield Detail("custom_id", f"must be 1 to {CUSTOM_ID_MAX} printable characters")
    elif id in seen:
        yield Detail("custom_id", f"is that of line {seen[id]}, too")
    seen.setdefault(id, number)
    if told["method"] != "POST":
        yield Detail("method", "must be POST")
    if told["url"] not in CODECS:
        yield Detail("url", f"must be one of {', '.join(CODECS)}")
    if told["body"].get("stream") or told["body"].get("streaming"):
        yield Detail("body.stream", "is not for batches")


def _read(line: _Line, tenant: str) -> Line:
    ask, work = read_question(line.url, msgspec.json.encode(line.body), tenant)
    return Line(ask, Order("generate", "batch", line.custom_id, work, urgency="LOW", attempts=ATTEMPTS))
