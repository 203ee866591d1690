"""One stream of log lines to stderr: JSON unless a person watches, no secrets and prompts, the request's id on each.

Whoever may not import this room logs through the standard library's `logging.getLogger("askonce.…")`; such records,
and uvicorn's, pass the same processors. Nothing here runs for a hit: no line is written for one.
"""

import contextlib
import functools
import json
import logging
import re
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

import msgspec

# structlog draws in rich (and pygments) at import, for prettier tracebacks: a third of a second and 8 MB in every
# gateway. It does without where rich cannot be imported.
_hide_rich = "rich" not in sys.modules and not TYPE_CHECKING
if _hide_rich:
    sys.modules["rich"] = None  # type: ignore[assignment]  # how Python marks a module as not importable
import structlog  # noqa: E402
from structlog.typing import EventDict, Processor, WrappedLogger  # noqa: E402

from askonce.telemetry.log_files import LineFile, LogFile  # noqa: E402

if _hide_rich:
    del sys.modules["rich"]

# The id of the request that is being served, set by the door; "" outside of one.
request_id: ContextVar[str] = ContextVar("askonce_request_id", default="")

REDACTED = "(redacted)"
_MAX_TEXT = 2000  # characters of one field: a log line is no place for a document
_MAX_DEPTH = 4  # of nested fields that are looked into

_SECRET_NAME = re.compile(
    r"secret|api_?key|authori[sz]ation|cookie|passw(or)?d|prompt|messages?_?content|^messages$|^content$|token(?!s)",
    re.IGNORECASE,
)
_COUNT_NAME = re.compile(r"_tokens?$|^tokens$|tokens_", re.IGNORECASE)
_PREFIXES = ("ask", "sk", "xai", "gsk", "AIza", "ghp", "pk", "rk")
_SECRET_TEXT = re.compile(
    rf"\b(?:{'|'.join(_PREFIXES)})[-_][A-Za-z0-9_\-]{{6,}}|\bAIza[A-Za-z0-9_\-]{{20,}}"
    r"|(?i:\bbearer\s+)[A-Za-z0-9._~+/=\-]{6,}|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
# Each text that the pattern finds has one of these, in lower case.
_MARKS = (*(prefix.lower() + joint for prefix in _PREFIXES for joint in "-_"), "aiza", "bearer", "://")
_NUMBERS = (int, float, type(None))
_MIN_SECRET = len("://u:p@")  # the shortest text that holds something like a key


def configure(level: str, form: str, stream: TextIO = sys.stderr, file: LogFile | None = None) -> None:
    """Send everything that is logged in this process to `stream`, or to a file. Idempotent.

    `form` is auto, json or console. Raises `OSError` where the file cannot be opened.
    """
    as_json = form == "json" or (form == "auto" and (file is not None or not stream.isatty()))
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _add_time,
        _add_request_id,
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer = _renderer(as_json, stream)
    handler = logging.StreamHandler(stream) if file is None else LineFile(file)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    for former in root.handlers:
        if isinstance(former, LineFile):
            former.close()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    logging.getLogger("uvicorn.error").setLevel(max(threshold, logging.WARNING))  # its "Shutting down" is told by us
    structlog.configure(
        processors=[structlog.stdlib.PositionalArgumentsFormatter(), *shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *names: _Lines(handler, *names),
        cache_logger_on_first_use=False,
    )


class _Lines:
    """Write the finished lines of one logger to the handler's stream.

    Without the standard library's records: they took half of a line's time, and a line is written for every paid call.
    """

    def __init__(self, handler: logging.StreamHandler[TextIO] | LineFile, name: str = "root") -> None:
        self.name = name
        self._handler = handler

    def _write(self, line: str) -> None:
        # Where the log cannot be written there is no place to say so, and what is logged must not fail for it.
        handler = self._handler
        with handler.lock or contextlib.nullcontext(), contextlib.suppress(OSError, ValueError):
            if isinstance(handler, LineFile):
                handler.write(line)
            else:
                handler.stream.write(f"{line}\n")
                handler.flush()

    debug = info = warning = error = exception = critical = _write


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger of one part, such as `askonce.supervisor`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(name)
    return logger


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hide fields that are named like secrets or prompts, and texts that look like keys, at any depth."""
    # Most lines hold nothing to hide. Finding that out costs less than a look at each text: 15 µs of a line's 50.
    together = "\n".join(value for value in event.values() if type(value) is str)
    harmless = len(together) <= _MAX_TEXT and not _has_mark(together.lower())
    for name, value in event.items():
        if not (harmless and type(value) is str and not _is_secret(name)):
            event[name] = _clean(name, value, _MAX_DEPTH)
    return event


def _has_mark(text: str) -> bool:
    for mark in _MARKS:  # noqa: SIM110 - `any` over a generator costs three times as much
        if mark in text:
            return True
    return False


def _clean(name: str, value: object, depth: int) -> object:
    if isinstance(value, _NUMBERS):  # tells nothing, whatever its name
        return value
    if _is_secret(name):
        return REDACTED
    if isinstance(value, str):
        if len(value) < _MIN_SECRET:
            return value
        text = _SECRET_TEXT.sub(REDACTED, value)
        return text if len(text) <= _MAX_TEXT or name == "exception" else text[:_MAX_TEXT] + "…"
    if isinstance(value, MutableMapping) and depth:
        return {key: _clean(str(key), inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple) and depth:
        return [_clean("", inner, depth - 1) for inner in value]
    return _clean("", str(value), 0)


@functools.lru_cache(maxsize=1024)  # of the few names there are; those of vendors' own fields may be many
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None and _COUNT_NAME.search(name) is None


def _renderer(as_json: bool, stream: TextIO) -> Processor:
    if as_json:
        return structlog.processors.JSONRenderer(serializer=_written)
    return structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)


def _written(event: EventDict, **_: object) -> str:
    try:
        return _json.encode(event).decode()
    except (UnicodeEncodeError, TypeError):  # half a character, or a key that JSON cannot have
        return json.dumps({str(name): value for name, value in event.items()}, default=repr)


# What is no JSON is written as Python shows it.
_json = msgspec.json.Encoder(enc_hook=repr)


def _add_time(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Add the time as RFC 3339 in UTC with milliseconds."""
    event["timestamp"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event


def _add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    current = request_id.get()
    if current:
        event.setdefault("request_id", current)
    return event
