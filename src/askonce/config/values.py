"""How one setting's value is read: text from the environment or the command line, or a TOML value.

Every reader takes what was written and returns what it means, or raises `ValueError` with the cure, in words that
follow "must be". Readers never repeat the value: the caller does, and masks it where it is secret.
"""

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from askonce.config.settings import RateLimit, StaticKey
from askonce.domain.admittance import read_rule

# What TOML can hold of a setting's value.
Raw = str | int | float | bool | list[str]
Reader = Callable[[Raw], object]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+)\s*([kmgt]?i?b?)?", re.IGNORECASE)
_RATE = re.compile(r"(\d+)\s*/\s*(\S+)")
MIN_KEY, MAX_KEY = 8, 512  # characters; shorter ones are guessed, longer ones fit no header
_KEY = re.compile(rf"[!-+\--~]{{{MIN_KEY},{MAX_KEY}}}")  # printable ASCII without space and comma, as in a header
_SHOWN_KEY = 3  # characters of a wrong key: enough to find it
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RESERVED_TENANT = re.compile(r"anonymous|key-.*")
# The doors where a question is asked; a test holds them against the table of doors.
ASKING_DOORS = ("/llm/generate", "/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings")
_MAX_REQUESTS = 1_000_000  # a window keeps a ring of as many slots
_DAYS = re.compile(r"(\d{1,6})\s*d")
_MAX_DAYS = 36_500
_MAX_SPAN_S = 86_400  # longer windows are budgets, not rate limits


def text(raw: Raw) -> str:
    """Take any text as it is, without outer white space."""
    if not isinstance(raw, str):
        raise ValueError("text in quotes")
    return raw.strip()


def switch(raw: Raw) -> bool:
    """Take on or off in the usual spellings."""
    word = str(raw).strip().lower()
    if word in {"on", "true", "yes", "1"}:
        return True
    if word in {"off", "false", "no", "0"}:
        return False
    raise ValueError("on or off")


def span_content(raw: Raw) -> bool:
    """Take on or off, or where OpenTelemetry's instrumentations may put content: here there are only spans."""
    word = str(raw).strip().lower()
    if word in {"span_only", "span_and_event"}:
        return True
    if word in {"no_content", "event_only"}:
        return False
    return switch(raw)


def whole(low: int, high: int) -> Reader:
    """Make a reader of whole numbers from `low` to `high`."""

    def read(raw: Raw) -> int:
        if isinstance(raw, bool) or not re.fullmatch(r"\d{1,18}", str(raw).strip()):
            raise ValueError(f"a whole number from {low} to {high}")
        number = int(str(raw))
        if not low <= number <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return number

    return read


def share(raw: Raw) -> float:
    """Take a number from 0 to 1."""
    if isinstance(raw, bool | list) or not re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", str(raw).strip()):
        raise ValueError("a number from 0 to 1, such as 0.01")
    number = float(str(raw))
    if number > 1:
        raise ValueError("a number from 0 to 1, such as 0.01")
    return number


def duration(low_s: float, high_s: float) -> Callable[[Raw], float]:
    """Make a reader of spans in seconds: `90`, `1.5`, `250ms`, `10m`, `1h`, `7d`."""
    wanted = f"a span from {span_word(low_s)} to {span_word(high_s)}, such as 90, 10m or 1h"

    def read(raw: Raw) -> float:
        match = None if isinstance(raw, bool | list) else _DURATION.fullmatch(str(raw).strip().lower())
        if match is None:
            raise ValueError(wanted)
        seconds = float(match[1]) * _SECONDS[match[2] or "s"]
        if not low_s <= seconds <= high_s:
            raise ValueError(wanted)
        return seconds

    return read


def span_word(seconds: float) -> str:
    """Write a span as it may be written in a setting, in the largest unit that fits: `365d`, `50ms`."""
    for unit in ("d", "h", "m", "s"):
        if seconds >= _SECONDS[unit] and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    return f"{seconds * 1000:g}ms" if 0 < seconds < 1 else f"{seconds:g}s"


def whole_duration(low_s: int, high_s: int) -> Reader:
    """Make a reader of spans that are counted in whole seconds."""
    read_span = duration(low_s, high_s)

    def read(raw: Raw) -> int:
        seconds = read_span(raw)
        if seconds != int(seconds):
            raise ValueError("a span of whole seconds, such as 90, 10m or 1h")
        return int(seconds)

    return read


def days(raw: Raw) -> int:
    """Take a span of whole days, or `forever`, which is 0."""
    wanted = f"forever, or whole days up to {_MAX_DAYS}d, such as 30d"
    if str(raw).strip().lower() in {"forever", "0"}:
        return 0
    match = _DAYS.fullmatch(str(raw).strip().lower())
    if match is None or not 1 <= int(match[1]) <= _MAX_DAYS:
        raise ValueError(wanted)
    return int(match[1])


def web_address(raw: Raw) -> str:
    """Take an http or https URL, or nothing."""
    url = text(raw)
    try:
        parts = urlsplit(url)
        sound = not url or (parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0)
    except ValueError:  # what is no address or port
        sound = False
    if not sound or not url.isprintable() or " " in url:
        raise ValueError("an address such as https://example.com/hook")
    return url


def header_pairs(raw: Raw) -> str:
    """Take headers as the OTLP exporter's specification writes them: `name=value,name=value`."""
    pairs = text(raw)
    for pair in pairs.split(",") if pairs else ():
        name, equals, value = pair.strip().partition("=")
        if not equals or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name.strip()) or not value.isprintable():
            raise ValueError("headers such as authorization=Bearer%20key,x-team=llm")
    return pairs


def sentry_dsn(raw: Raw) -> str:
    """Take the DSN of a Sentry project, or nothing."""
    dsn = text(raw)
    try:
        parts = urlsplit(dsn)
        project = parts.path.rpartition("/")[2]
        sound = not dsn or (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname and parts.username)
            and parts.port != 0
            and project.isdigit()
        )
    except ValueError:  # what is no address or port
        sound = False
    if not sound or not dsn.isprintable() or " " in dsn:
        raise ValueError("a DSN as Sentry shows it under Client Keys, such as https://key@o1.ingest.sentry.io/42")
    return dsn


def size(low: int, high: int) -> Reader:
    """Make a reader of sizes in bytes: `2GiB`, `512MB`, `4096`. `MB` is a million, `MiB` is 2²⁰."""
    wanted = f"a size from {size_word(low)} to {size_word(high)}, such as 512MB or 2GiB"

    def read(raw: Raw) -> int:
        match = None if isinstance(raw, bool | float | list) else _SIZE.fullmatch(str(raw).strip())
        if match is None:
            raise ValueError(wanted)
        bytes_ = int(match[1]) * _unit(match[2].lower())
        if not low <= bytes_ <= high:
            raise ValueError(wanted)
        return bytes_

    return read


def size_word(count: int) -> str:
    """Write a size as it may be written in a setting, in the largest unit that divides it: `2GiB`, `100TB`."""
    for unit in ("TiB", "GiB", "MiB", "TB", "GB", "MB", "KiB"):
        if count and count % _unit(unit.lower()) == 0:
            return f"{count // _unit(unit.lower())}{unit}"
    return str(count)


def _unit(word: str) -> int:
    power = " kmgt".index(word[0]) if word and word[0] in "kmgt" else 0
    return int((1024 if "i" in word else 1000) ** power)


def rate(raw: Raw) -> RateLimit | None:
    """Take `20/60s` (also `/m`, `/1h`) or `off`."""
    word = str(raw).strip().lower()
    if raw is False or word == "off":
        return None
    match = _RATE.fullmatch(word)
    if match is None or not 1 <= int(match[1]) <= _MAX_REQUESTS:
        raise ValueError("off, or requests per span such as 20/60s or 1000/1h")
    span = match[2] if match[2][0].isdigit() else "1" + match[2]
    span_s = whole_duration(1, _MAX_SPAN_S)(span)
    assert isinstance(span_s, int)  # noqa: S101 - for the type checker: readers are typed for the table
    return RateLimit(int(match[1]), span_s)


def choice(*words: str) -> Reader:
    """Make a reader of one of a few words."""

    def read(raw: Raw) -> str:
        word = str(raw).strip().lower()
        if word not in words:
            raise ValueError("one of " + ", ".join(words))
        return word

    return read


def local_model(raw: Raw) -> str:
    """Take `auto`, `on`, `off`, or a model's name or path. TOML's true and false are on and off."""
    if isinstance(raw, bool):
        return "on" if raw else "off"
    word = text(raw)
    if not word:
        raise ValueError("auto, on, off, the name of a model, or the path of a GGUF file")
    return word.lower() if word.lower() in {"auto", "on", "off"} else word


def listed(raw: Raw) -> tuple[str, ...]:
    """Take a TOML list, or text separated by commas."""
    parts = raw if isinstance(raw, list) else str(raw).split(",")
    if not all(isinstance(part, str) for part in parts):
        raise ValueError("a list of texts")
    return tuple(part.strip() for part in parts if part.strip())


def asking_doors(raw: Raw) -> tuple[str, ...]:
    """Take paths of doors that ask, `/v1` standing for all of its doors; each once."""
    chosen = []
    for part in listed(raw):
        path = part.rstrip("/")
        doors = [door for door in ASKING_DOORS if door == path or (path == "/v1" and door.startswith("/v1/"))]
        if not doors:
            raise ValueError(f"paths of doors that ask a model: /v1 for all of its doors, or {', '.join(ASKING_DOORS)}")
        chosen += doors
    return tuple(dict.fromkeys(chosen))


def networks(raw: Raw) -> tuple[str, ...]:
    """Take addresses and networks in CIDR notation."""
    try:
        return tuple(str(ipaddress.ip_network(part, strict=False)) for part in listed(raw))
    except ValueError:
        raise ValueError("addresses or networks, such as 10.0.0.0/8,192.168.1.7") from None


_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\]")
_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


def origins(raw: Raw) -> tuple[str, ...]:
    """Take origins as browsers write them, without a path, or `*`."""
    found = tuple(part if part == "*" else part.lower().removesuffix("/") for part in listed(raw))
    if any(part != "*" and _ORIGIN.fullmatch(part) is None for part in found):
        raise ValueError("origins such as https://app.example.org or http://localhost:5173, or *")
    return found


def hosts(raw: Raw) -> tuple[str, ...]:
    """Take names of hosts, without scheme, port or path, or `*`."""
    found = tuple(part.lower() for part in listed(raw))
    if any(part != "*" and _HOST.fullmatch(part) is None for part in found):
        raise ValueError("names of hosts such as hooks.example.org, or *")
    return found


def admittance(raw: Raw) -> tuple[str, ...]:
    """Take rules of who may log in, in the form that `domain.admittance` reads."""
    rules = listed(raw)
    for rule in rules:
        read_rule(rule)
    return rules


def issuer(raw: Raw) -> str:
    """Take an https URL, of this machine also an http one; or nothing."""
    url = web_address(raw).rstrip("/")
    if url.startswith("http://") and urlsplit(url).hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError("an address that begins with https://")
    return url


def static_keys(raw: Raw) -> tuple[StaticKey, ...]:
    """Take `key` or `tenant:key`, several separated by commas. A bare key is a tenant of its own.

    A bare key's tenant is `key-` and the first 12 hex digits of the key's SHA-256, so that it is stable over
    restarts and tells nothing. Several keys of one tenant share answers. Nothing at all means no keys; separators
    without a key between them are a slip that would leave the door open.
    """
    parts = listed(raw)
    if raw and not parts:
        raise ValueError("at least one key; remove the setting to serve without keys")
    keys = tuple(_static_key(number, part) for number, part in enumerate(parts, start=1))
    if len({key.secret for key in keys}) != len(keys):
        raise ValueError("different keys: one stands there twice; remove it")
    return keys


def _static_key(number: int, part: str) -> StaticKey:
    tenant, colon, secret = part.partition(":")
    if not colon:
        tenant, secret = "", part
    if not _KEY.fullmatch(secret):
        shown = ascii(secret[:_SHOWN_KEY])[1:-1]
        raise ValueError(
            f"keys of {MIN_KEY} to {MAX_KEY} printable characters without spaces and commas; key {number} "
            f"({shown}…) is not, its length is {len(secret)}; `openssl rand -hex 24` makes one"
        )
    if not colon:
        return StaticKey(secret, StaticKey(secret, "").name)
    if not _TENANT.fullmatch(tenant) or _RESERVED_TENANT.fullmatch(tenant):
        raise ValueError(
            f"`tenant:key` with a tenant of 1 to 64 letters, digits, `.`, `_` or `-`; not `anonymous` or `key-…`; "
            f"that of key {number} is not so"
        )
    return StaticKey(secret, tenant)
