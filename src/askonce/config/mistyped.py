"""Say in words what msgspec found wrong: which key, and what it must hold. Its own sentences name Python's types."""

import re

import msgspec

_TYPE = re.compile(r"Expected (.+), got `(\w+)`")
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(\w+)`")
_WORDS = {
    "str": "text in quotes",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}


def in_words(error: msgspec.ValidationError) -> str:
    """Return `key: what it must be`, to stand behind the name of the table that the key is in."""
    problem, _, place = str(error).partition(" - at `")
    key = place.strip("`").removeprefix("$").removeprefix(".").replace("[...]", ".…")
    return f"{key}: {_problem(problem)}" if key else _problem(problem)


def _problem(sentence: str) -> str:
    if found := _TYPE.fullmatch(sentence):
        wanted = [_WORDS[one] for one in re.findall(r"\w+", found[1]) if one in _WORDS]
        return f"must be {' or '.join(wanted) or found[1]}, not {_WORDS.get(found[2], found[2])}"
    if found := _MISSING.fullmatch(sentence):
        return f"`{found[1]}` is missing"
    if found := _UNKNOWN.fullmatch(sentence):
        return f"there is no `{found[1]}`"
    return sentence[:1].lower() + sentence[1:]
