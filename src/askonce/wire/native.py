"""The shape of `/llm/generate`: a JSON body becomes an `Ask`, an entry becomes the JSON answer.

Decoding is strict: a field that is not known is refused by name, and one slow second look at a refused body names
every field that is wrong. Of duplicate keys the last one counts, here and upstream alike, because only what was
decoded is passed on.
"""

import difflib
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from askonce.domain.call import (
    Ask,
    CacheMode,
    CacheWish,
    Call,
    Message,
    Params,
    Priority,
    RoutingMode,
    RoutingWish,
)
from askonce.domain.errors import AskonceError, Detail, Invalid, Malformed
from askonce.domain.money import NANO_PER_DOLLAR

# What the model is told where the caller gave no `system` of its own. It is part of the question, so that changing
# it makes new questions of all old ones.
SYSTEM = (
    "You write code. Reply with complete, working files in fenced code blocks. After the language on the opening "
    "fence put the file's path, like ```python src/app.py. Keep words outside the blocks to a minimum."
)

# Longer than any provider keeps a promise; shorter than what would overflow anything.
TTL_CEILING_S = 366 * 24 * 3600
STOPS_CEILING = 16  # vendors take 4 (OpenAI) to 16 (local engines); theirs is the last word
NAME_CEILING = 200  # twice the longest model's name; looking for what resembles it takes its length squared

# A refused body is looked at again only up to this size: read without its types, it takes thirty times its room.
EXPLAINED_MAX_BYTES = 1 << 20
PROBLEMS_CEILING = 20  # more are no help to anyone, and each unknown name costs a search for the nearest
NAMED_MAX = 100  # what a caller sent comes back to it, but no more of it than tells what is meant
SAID_MAX = 200


def _says(description: str) -> Meta:
    return Meta(description=description)


Seconds = Annotated[int, Meta(ge=1, le=TTL_CEILING_S)] | Annotated[float, Meta(ge=1, le=TTL_CEILING_S)]
Dollars = Annotated[float, Meta(ge=0, le=1_000_000)]
Whole = Annotated[int, Meta(ge=1, le=10_000_000)] | Annotated[float, Meta(ge=1, le=10_000_000)]


class CacheField(Struct, frozen=True, forbid_unknown_fields=True):
    """Hold the `cache` object of a request."""

    mode: Annotated[
        CacheMode | None,
        _says("default: answer from the store or ask; refresh: ask and store; off: neither; only: never ask"),
    ] = None
    ttl: Annotated[Seconds | None, _says("keep the answer so many seconds instead of the configured time")] = None


class GenerateBody(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Hold the body of POST /llm/generate. `null` means absent."""

    prompt: Annotated[str, _says("what you want; must not be blank")]
    model: Annotated[str | None, _says("as in gpt-4o or openai:gpt-4o; without it the default model answers")] = None
    routing_mode: Annotated[RoutingMode | None, _says("who chooses: you, or a rule; default single-model")] = None
    active_provider: Annotated[str | None, _says("the provider to ask; required in mode manual")] = None
    allow_failover: Annotated[bool | None, _says("may another provider answer if this one fails; default true")] = None
    capabilities: Annotated[tuple[str, ...] | None, _says("what the model must be able to do, and what for")] = None
    priority: Annotated[Priority | None, _says("what to prefer where there is a choice")] = None
    max_cost: Annotated[
        Dollars | None,
        _says("refuse a call estimated to cost more dollars; without maxTokens 4,096 tokens of answer are assumed"),
    ] = None
    system: Annotated[str | None, _says("replaces the built-in instructions for writing code; may be empty")] = None
    temperature: Annotated[Annotated[float, Meta(ge=0, le=2)] | None, _says("how freely the model samples")] = None
    max_tokens: Annotated[Whole | None, _says("the longest answer, in tokens")] = None
    top_p: Annotated[Annotated[float, Meta(ge=0, le=1)] | None, _says("sample from the likeliest tokens only")] = None
    seed: Annotated[int | float | None, _says("for models that can repeat themselves; a whole number")] = None
    stop: Annotated[str | tuple[str, ...] | None, _says("end the answer before one of these texts")] = None
    stream: Annotated[bool | None, _says("answer with server-sent events; default false")] = None
    streaming: Annotated[bool | None, _says("an alias of stream")] = None
    cache: Annotated[CacheField | None, _says("how to use the cache; wins over the header Cache-Control")] = None


_decoder = msgspec.json.Decoder(GenerateBody)
_WIRE_NAMES = {field.encode_name: field for field in msgspec.structs.fields(GenerateBody)}
_CACHE_NAMES = {field.encode_name: field for field in msgspec.structs.fields(CacheField)}


def read_generate(body: bytes, tenant: str, header_wish: CacheWish) -> Ask:
    """Turn the body of POST /llm/generate into an `Ask`. Raises `Malformed` and `Invalid`."""
    try:
        fields = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _explain(body, error) from None
    problems = _problems(fields)
    if problems:
        raise _invalid(problems)
    system = SYSTEM if fields.system is None else fields.system
    call = Call(
        tenant=tenant,
        messages=(Message("system", system), Message("user", fields.prompt))
        if system
        else (Message("user", fields.prompt),),
        params=Params(
            # Adding 0.0 makes -0.0 the zero that it equals.
            temperature=None if fields.temperature is None else fields.temperature + 0.0,
            max_tokens=None if fields.max_tokens is None else int(fields.max_tokens),
            top_p=None if fields.top_p is None else fields.top_p + 0.0,
            seed=None if fields.seed is None else int(fields.seed),
            stop=(fields.stop,) if isinstance(fields.stop, str) else fields.stop or None,
        ),
        stream=bool(fields.stream if fields.stream is not None else fields.streaming),
    )
    return Ask(call=call, routing=_routing(fields), cache=_cache(fields.cache, header_wish))


def _routing(fields: GenerateBody) -> RoutingWish:
    return RoutingWish(
        mode=fields.routing_mode or "single-model",
        model=fields.model,
        active_provider=fields.active_provider,
        allow_failover=fields.allow_failover is not False,
        capabilities=fields.capabilities or (),
        priority=fields.priority,
        max_cost_nano=None if fields.max_cost is None else round(fields.max_cost * NANO_PER_DOLLAR),
    )


def _cache(field: CacheField | None, header: CacheWish) -> CacheWish:
    if field is None:
        return header
    return CacheWish(
        mode=field.mode or header.mode,
        ttl_s=None if field.ttl is None else int(field.ttl),
        max_age_s=header.max_age_s,
    )


def _problems(fields: GenerateBody) -> list[Detail]:
    """Check what types cannot say."""
    found = []
    if not fields.prompt.strip():
        found.append(Detail("prompt", "must not be blank"))
    for name, text in (("model", fields.model), ("activeProvider", fields.active_provider)):
        if text is not None and not text.strip():
            found.append(Detail(name, "must not be blank"))
        elif text is not None and len(text) > NAME_CEILING:
            found.append(Detail(name, f"must be at most {NAME_CEILING} characters"))
    numbers: tuple[tuple[str, float | None], ...] = (("maxTokens", fields.max_tokens), ("seed", fields.seed))
    if fields.cache is not None:
        numbers = (*numbers, ("cache.ttl", fields.cache.ttl))
    for name, number in numbers:
        if isinstance(number, float) and not number.is_integer():
            found.append(Detail(name, "must be a whole number"))
    if fields.seed is not None and not -(2**63) <= fields.seed < 2**63:
        found.append(Detail("seed", "must fit 64 bits"))
    stops = (fields.stop,) if isinstance(fields.stop, str) else fields.stop or ()
    if len(stops) > STOPS_CEILING or not all(stops):
        found.append(Detail("stop", f"must be at most {STOPS_CEILING} texts, none of them empty"))
    if fields.stream is not None and fields.streaming is not None and fields.stream != fields.streaming:
        found.append(Detail("streaming", "contradicts stream, of which it is an alias: send one of them"))
    return found


def _invalid(problems: list[Detail]) -> Invalid:
    said = "; ".join(f"{p.field} {p.problem}" for p in problems)
    return Invalid(f"The request is invalid: {said}.", details=problems)


def _explain(body: bytes, error: Exception) -> AskonceError:
    """Look at a refused body once more, field by field, and say everything that is wrong with it."""
    if len(body) > EXPLAINED_MAX_BYTES:
        return _first_problem(body, error)
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as again:
        return _not_json(body, again)
    if not isinstance(raw, dict):
        return Invalid(f"The body must be a JSON object, not {_kind(raw)}.")
    problems = _field_problems(raw, _WIRE_NAMES, "")
    if isinstance(raw.get("cache"), dict):
        problems = [p for p in problems if p.field != "cache"] + _field_problems(raw["cache"], _CACHE_NAMES, "cache.")
    if "prompt" not in raw:
        problems.insert(0, Detail("prompt", "is required"))
    wrong = {problem.field.partition(".")[0] for problem in problems}
    sound = {name: value for name, value in raw.items() if name in _WIRE_NAMES and name not in wrong}
    problems += _problems(msgspec.convert({"prompt": "given", **sound}, GenerateBody))
    if len(problems) > PROBLEMS_CEILING:
        problems = [*problems[:PROBLEMS_CEILING], Detail("body", "has more problems than are named here")]
    return _invalid(problems or [Detail("body", _plain(str(error)))])


def _first_problem(body: bytes, error: Exception) -> AskonceError:
    if not isinstance(error, msgspec.ValidationError):
        return _not_json(body, error)
    said, _, path = str(error).partition(" - at `")
    path = path.strip("`$.")
    unknown = said.partition("unknown field `")[2].rstrip("`")
    if unknown:
        fields = _CACHE_NAMES if path else _WIRE_NAMES
        return _invalid([_unknown(f"{path}." if path else "", unknown, list(fields))])
    return _invalid([Detail(path[:NAMED_MAX] or "body", _plain(said))])


def _not_json(body: bytes, error: Exception) -> Malformed:
    if isinstance(error, RecursionError):
        return Malformed("The body is nested too deep.")
    if not body.strip():
        return Malformed('The body is empty. Send a JSON object, such as {"prompt": "hello world in Go"}.')
    try:
        body.decode()
    except UnicodeDecodeError:
        return Malformed("The body is not valid UTF-8.")
    if b"\\ud" in body.lower():
        return Malformed("The body is not valid JSON: it holds half of a surrogate pair (\\ud800 to \\udfff).")
    reason = str(error).removeprefix("JSON is malformed: ").partition(" - at `")[0]
    return Malformed(f"The body is not valid JSON: {reason[:1].lower()}{reason[1:]}.")


def _field_problems(raw: dict[str, Any], fields: dict[str, Any], prefix: str) -> list[Detail]:
    found: list[Detail] = []
    for name, value in raw.items():
        if len(found) > PROBLEMS_CEILING:
            break
        field = fields.get(name)
        if field is None:
            found.append(_unknown(prefix, name, list(fields)))
            continue
        try:
            msgspec.convert(value, field.type)
        except msgspec.ValidationError as error:
            found.append(Detail(f"{prefix}{name}", _plain(str(error)) + _choices(field.type)))
    return found


def _unknown(prefix: str, name: str, known: list[str]) -> Detail:
    return Detail(f"{prefix}{name}"[:NAMED_MAX], f"is not a known field{_nearest(name, known)}")


def _nearest(name: str, known: list[str]) -> str:
    """Suggest the known name that was probably meant, also where only the case or the underscores differ."""
    folded = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.replace("_", "").lower()[:64], folded, n=1, cutoff=0.6)
    return f" (did you mean {folded[close[0]]}?)" if close else ""


def _plain(problem: str) -> str:
    """Turn msgspec's sentence into the second half of ours: `Expected X, got Y - at $` → `expected X, got Y`."""
    sentence = problem.partition(" - at `")[0].replace("`", "").replace(" | null", "")
    if len(sentence) > SAID_MAX:
        sentence = f"{sentence[:SAID_MAX]}…"
    return f"is wrong: {sentence[:1].lower()}{sentence[1:]}"


def _choices(kind: Any) -> str:
    """List the texts that a field can be, if it is one of those."""
    found = _literals(kind)
    return f" (choose one of {', '.join(found)})" if found else ""


def _literals(kind: Any) -> tuple[str, ...]:
    if get_origin(kind) is Literal:
        return get_args(kind)
    return tuple(text for part in get_args(kind) for text in _literals(part))


def _kind(value: object) -> str:
    names = {list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
