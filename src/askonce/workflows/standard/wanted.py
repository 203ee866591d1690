"""What the user asked for, as nodes are told: the request, and all that belongs to it."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

# A value of a custom input is shown up to so many characters; a template shows it whole.
MAX_VALUE_CHARS = 4000


class Wanted(Struct, frozen=True):
    """Hold what is wanted: the request, and what must not be cut of it (language, requirements, constraints)."""

    prompt: str
    terms: str


def wanted_of(input: Raw) -> Wanted:
    """Read an execution's input: that of the shorthand, or any object of which these names are understood."""
    told = msgspec.json.decode(input)
    if not isinstance(told, dict):
        return Wanted("", "")
    said = {name: value for name, value in told.items() if value not in (None, "", [], {})}
    prompt = said.pop("prompt", "")
    if not isinstance(prompt, str):
        prompt = _shown(prompt)
    lines = [f"{name.capitalize()}: {_shown(said.pop(name))}" for name in ("language", "framework") if name in said]
    if said.pop("complexity", "") == "simple":
        lines.append("Keep it small: one file if that does the job.")
    parts = ["\n".join(lines)]
    for name in ("requirements", "constraints"):
        parts.append(_listed(f"{name.capitalize()}:", said.pop(name, ())))
    parts.append(_listed("Also given:", [f"{name}: {_shown(value)}" for name, value in said.items()]))
    return Wanted(prompt.strip(), "\n\n".join(part for part in parts if part))


def complexity_of(input: Raw) -> str:
    """Return the complexity that was asked for; "moderate" where none was."""
    told = msgspec.json.decode(input)
    said = told.get("complexity") if isinstance(told, dict) else None
    return said if said in ("simple", "complex") else "moderate"


def _listed(head: str, values: Any) -> str:
    items = values if isinstance(values, list | tuple) else [values]
    return "\n".join([head, *(f"- {_shown(item)}" for item in items)]) if items else ""


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    text = " ".join(text.split("\n")) if len(text) < MAX_VALUE_CHARS else text
    return text[:MAX_VALUE_CHARS] + ("…" if len(text) > MAX_VALUE_CHARS else "")
