"""Bodies of our own doors, read strictly: every field that is wrong is named, unknown ones with the nearest known.

Used where requests are few. The doors that ask have readers of their own, which know their shapes.
"""

import difflib
from collections.abc import Collection
from typing import Any, TypeVar

import msgspec
from msgspec import NODEFAULT, Struct

from askonce.domain.errors import Detail, Invalid, Malformed

BODY_MAX = 256 << 10  # a key with a hundred patterns of each kind takes a tenth of it
PROBLEMS_MAX = 20  # more are no help to anyone
NAMED_MAX = 64

_T = TypeVar("_T", bound=Struct)


def read_body(kind: type[_T], raw: bytes) -> _T:
    """Turn a JSON object into `kind`; nothing at all is the empty object. Raises `Malformed` and `Invalid`."""
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _explain(kind, raw or b"{}", error) from None


def unknown_field(name: str, known: Collection[str]) -> Detail:
    """Say that there is no such field, and which was probably meant."""
    folded = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.replace("_", "").lower()[:NAMED_MAX], folded, n=1)
    shown = f"is not a known field (did you mean {folded[close[0]]}?)" if close else "is not a known field"
    return Detail(name[:NAMED_MAX], shown)


def invalid(problems: Collection[Detail]) -> Invalid:
    """Make the refusal of a request with wrong fields."""
    return Invalid("; ".join(f"{each.field} {each.problem}" for each in problems) + ".", details=tuple(problems))


def _explain(kind: type[Struct], raw: bytes, error: Exception) -> Malformed | Invalid:
    """Look once more, field by field."""
    if isinstance(error, RecursionError):
        return Malformed("The body is nested too deep.")
    try:
        told = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Malformed("The body is not valid JSON in UTF-8.")
    if not isinstance(told, dict):
        return Invalid("The body must be a JSON object.")
    problems = problems_of(kind, told)[:PROBLEMS_MAX]
    return invalid(problems or [Detail("body", _plain(error))])


def problems_of(kind: type[Struct], told: dict[str, Any]) -> list[Detail]:
    """Say what is wrong with each field of an object."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    found = [
        Detail(name, "is required")
        for name, field in fields.items()
        if name not in told and field.default is NODEFAULT and field.default_factory is NODEFAULT
    ]
    for name, value in told.items():
        if len(found) > PROBLEMS_MAX:
            break
        if name not in fields:
            found.append(unknown_field(name, fields))
            continue
        try:
            msgspec.convert(value, fields[name].type)
        except msgspec.ValidationError as error:
            found.append(Detail(name, _plain(error)))
    return found


def _plain(error: Exception) -> str:
    """Turn msgspec's sentence into the second half of ours."""
    said = str(error).partition(" - at `")[0].replace("`", "").replace(" | null", "")[:200]
    return f"is wrong: {said[:1].lower()}{said[1:]}"
