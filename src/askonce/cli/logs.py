"""`askonce logs`: read JSON lines of the log for people, filtered, from files, a pipe, or as they come.

askonce serve 2>&1 | askonce logs --level warning          askonce logs -f --door generate --min-ms 500
"""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import Struct

from askonce.cli.apps import new_app
from askonce.cli.exits import CommandFailed, Misused
from askonce.cli.moments import moment_ms, span_ms
from askonce.cli.settings import ConfigOption, load_settings
from askonce.cli.terminal import harmless

app = new_app()

LEVELS = ("debug", "info", "warning", "error", "critical")
POLL_S = 0.25
_FIRST = ("timestamp", "level", "logger", "event")  # shown before all others, by their place
_BY_OPTION = ("event", "door", "cache", "provider", "model", "tenant", "key_id", "code")
_COLOURS = {"debug": 90, "warning": 33, "error": 31, "critical": 31}


class Filter(Struct, frozen=True):
    """Say which lines are wanted. `equal`: fields that must have exactly that value."""

    level: str = "debug"
    equal: dict[str, str] = {}
    request_id: str = ""
    contains: str = ""
    min_ms: float = 0.0
    since: str = ""  # RFC 3339 in UTC, as the lines have it: they are ordered like letters

    def wants(self, line: dict[str, Any], raw: str) -> bool:
        """Say whether a line passes."""
        level = str(line.get("level", "info"))
        if level in LEVELS and LEVELS.index(level) < LEVELS.index(self.level):
            return False
        if any(str(line.get(name, "")) != value for name, value in self.equal.items()):
            return False
        if self.request_id and line.get("request_id") != self.request_id:
            return False
        if self.since and str(line.get("timestamp", "")) < self.since:
            return False
        took_ms = line.get("took_ms")
        if self.min_ms and not (isinstance(took_ms, int | float) and took_ms >= self.min_ms):
            return False
        return not self.contains or self.contains.lower() in raw.lower()


@app.command(name="logs")
def _logs(
    files: Annotated[list[Path] | None, typer.Argument(help="Files; else the settings' log_file, else stdin.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on, and print each line as it comes.")] = False,
    level: Annotated[str, typer.Option(help=f"Least level: {', '.join(LEVELS)}.")] = "debug",
    event: Annotated[str, typer.Option(help="Such as request, provider_call, slow_request.")] = "",
    door: Annotated[str, typer.Option(help="Of this door.")] = "",
    cache: Annotated[str, typer.Option(help="Answered so: hit, miss, coalesced …")] = "",
    provider: Annotated[str, typer.Option(help="Of this provider.")] = "",
    model: Annotated[str, typer.Option(help="Of this model.")] = "",
    tenant: Annotated[str, typer.Option(help="Of this tenant.")] = "",
    key: Annotated[str, typer.Option(help="Of this key (its id).")] = "",
    code: Annotated[str, typer.Option(help="With this error's code.")] = "",
    request_id: Annotated[str, typer.Option("--id", help="Of this request.")] = "",
    grep: Annotated[str, typer.Option(help="That hold these words, in whatever case.")] = "",
    min_ms: Annotated[float, typer.Option(min=0, help="That took so many milliseconds or more.")] = 0.0,
    since: Annotated[str, typer.Option(help="A span back from now such as 15m, or a moment (UTC).")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines as they are.")] = False,
    config: ConfigOption = None,
) -> None:
    """Print the log for people. Lines that are no JSON are printed as they are, unless something is filtered."""
    if level not in LEVELS:
        raise Misused(f"--level {level}: there is no such level; there are {', '.join(LEVELS)}.")
    values = dict(zip(_BY_OPTION, (event, door, cache, provider, model, tenant, key, code), strict=True))
    equal = {name: value for name, value in values.items() if value}
    wanted = Filter(level, equal, request_id, grep, min_ms, _since(since, time.time()) if since else "")
    paths = list(files or ())
    if not paths and (sys.stdin.isatty() or follow):
        named = load_settings(config).config.log_file
        if not named:
            raise Misused("There is no log file: set log_file, name a file, or pipe the log in (2>&1 |).")
        paths = [Path(named)]
    if follow and len(paths) > 1:
        raise Misused("Only one file can be followed.")
    try:
        lines = followed(paths[0]) if follow else _read(paths)
        for text in printed(lines, wanted, as_json=as_json, coloured=sys.stdout.isatty()):
            print(text, flush=follow)
    except OSError as error:
        raise CommandFailed(f"{error.filename} cannot be read: {error.strerror}.") from error


def printed(lines: Iterable[str], wanted: Filter, *, as_json: bool, coloured: bool) -> Iterator[str]:
    """Yield what is printed of each line that passes."""
    for line in lines:
        raw = line.rstrip("\n")
        fields = _fields(raw)
        if fields is None:
            if raw and wanted == Filter():
                yield harmless(raw)
        elif wanted.wants(fields, raw):
            yield raw if as_json else pretty(fields, coloured)


def pretty(fields: dict[str, Any], coloured: bool = False) -> str:
    """Write a line for people: time, level, event, then the fields as `name=value`; a traceback below."""
    moment = str(fields.get("timestamp", ""))[:23].replace("T", " ")
    level = str(fields.get("level", ""))
    rest = " ".join(
        f"{name}={_value(value)}"
        for name, value in fields.items()
        if name not in _FIRST and name not in {"exception", "extra"} and value is not None
    )
    head = f"{moment} {level:<8}"
    if coloured and level in _COLOURS:
        head = f"{moment} \x1b[{_COLOURS[level]}m{level:<8}\x1b[0m"
    whole = f"{head} {harmless(str(fields.get('event', '')))}" + (f"  {rest}" if rest else "")
    exception = fields.get("exception")
    return f"{whole}\n{harmless(str(exception))}" if exception else whole


def _value(value: object) -> str:
    if isinstance(value, str):
        return harmless(value) if value and " " not in value else json.dumps(harmless(value), ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _fields(raw: str) -> dict[str, Any] | None:
    if not raw.startswith("{"):
        return None
    try:
        fields = json.loads(raw)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) and "event" in fields else None


def _since(text: str, now_s: float) -> str:
    epoch_ms = moment_ms(text, "--since") if "-" in text else round(now_s * 1000) - span_ms(text, "--since")
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(epoch_ms // 1000))
    return f"{whole}.{epoch_ms % 1000:03d}Z"


def _read(paths: list[Path]) -> Iterator[str]:
    if not paths:
        yield from sys.stdin
    for path in paths:
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from file


def followed(path: Path, pause_s: float = POLL_S) -> Iterator[str]:
    """Yield whole lines of a file for ever, from its beginning; go on in its successor when it is moved away."""
    file = path.open(encoding="utf-8", errors="replace")
    begun = ""
    try:
        while True:
            piece = file.readline()
            if piece:
                begun += piece
                if begun.endswith("\n"):
                    yield begun
                    begun = ""
                continue
            if _moved(path, file.fileno()):
                rest = file.readline()
                if rest:  # written between our look and the move
                    begun += rest
                    continue
                successor = path.open(encoding="utf-8", errors="replace")
                file.close()
                file, begun = successor, ""
                continue
            time.sleep(pause_s)
    finally:
        file.close()


def _moved(path: Path, number: int) -> bool:
    try:
        there = path.stat()
    except OSError:
        return False  # between its end and its new beginning
    ours = os.fstat(number)
    return (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev)
