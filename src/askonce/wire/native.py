"""The shape of `/llm/generate`: a JSON body becomes an `Ask`, an entry becomes the JSON answer.

Decoding is strict: a field that is not known is refused by name, and one slow second look at a refused body names
every field that is wrong. Of duplicate keys the last one counts, here and upstream alike, because only what was
decoded is passed on.
"""

import difflib
from typing import Annotated, Any

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


def _says(description: str) -> Meta:
    return Meta(description=description)


Seconds = Annotated[int, Meta(ge=1, le=TTL_CEILING_S)] | Annotated[float, Meta(ge=1, le=TTL_CEILING_S)]
Dollars = Annotated[int, Meta(ge=0, le=1_000_000)] | Annotated[float, Meta(ge=0, le=1_000_000)]
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
    routing_mode: Annotated[RoutingMode | None, _says("single-model (default) or manual; the others come later")] = None
    active_provider: Annotated[str | None, _says("the provider to ask; required in mode manual")] = None
    allow_failover: Annotated[bool | None, _says("may another provider answer if this one fails; default true")] = None
    capabilities: Annotated[tuple[str, ...] | None, _says("what the model must be able to do")] = None
    priority: Annotated[Priority | None, _says("what to prefer where there is a choice")] = None
    max_cost: Annotated[Dollars | None, _says("refuse a call that is estimated to cost more dollars than this")] = None
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
    return Invalid(f"{said[:1].upper()}{said[1:]}.", details=problems)


def _explain(body: bytes, error: Exception) -> AskonceError:
    """Look at a refused body once more, field by field, and say everything that is wrong with it."""
    try:
        raw = msgspec.json.decode(body)
    except UnicodeDecodeError:
        return Malformed("The body is not valid UTF-8.")
    except RecursionError:
        return Malformed("The body is nested too deep.")
    except msgspec.DecodeError as again:
        return _not_json(body, again)
    if not isinstance(raw, dict):
        return Invalid(f"The body must be a JSON object, not {_kind(raw)}.")
    problems = _field_problems(raw, _WIRE_NAMES, "")
    if isinstance(raw.get("cache"), dict):
        problems = [p for p in problems if p.field != "cache"] + _field_problems(raw["cache"], _CACHE_NAMES, "cache.")
    if "prompt" not in raw:
        problems.insert(0, Detail("prompt", "is required"))
    return _invalid(problems or [Detail("body", str(error))])


def _not_json(body: bytes, error: Exception) -> Malformed:
    if not body.strip():
        return Malformed('The body is empty. Send a JSON object, such as {"prompt": "hello world in Go"}.')
    try:
        body.decode()
    except UnicodeDecodeError:
        return Malformed("The body is not valid UTF-8.")
    reason = str(error).removeprefix("JSON is malformed: ")
    return Malformed(f"The body is not valid JSON: {reason}.")


def _field_problems(raw: dict[str, Any], fields: dict[str, Any], prefix: str) -> list[Detail]:
    found = []
    for name, value in raw.items():
        field = fields.get(name)
        if field is None:
            found.append(Detail(f"{prefix}{name}"[:100], f"is not a known field{_nearest(name, list(fields))}"))
            continue
        try:
            msgspec.convert(value, field.type)
        except msgspec.ValidationError as error:
            found.append(Detail(f"{prefix}{name}", _plain(str(error))))
    return found


def _nearest(name: str, known: list[str]) -> str:
    """Suggest the known name that was probably meant, also where only the case or the underscores differ."""
    folded = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.replace("_", "").lower()[:64], folded, n=1, cutoff=0.6)
    return f" (did you mean {folded[close[0]]}?)" if close else ""


def _plain(problem: str) -> str:
    """Turn msgspec's sentence into the second half of ours: `Expected X, got Y - at $` → `expected X, got Y`."""
    sentence = problem.partition(" - at `")[0].replace("`", "").replace(" | null", "")
    return f"is wrong: {sentence[:1].lower()}{sentence[1:]}"


def _kind(value: object) -> str:
    names = {list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
