"""`askonce audit`: check the audit log, show and export it, and accept its end after a restore."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from sqlalchemy import Select, select

from askonce.cli.apps import new_app
from askonce.cli.audit_told import line_of, report_json, row_json, told
from askonce.cli.exits import EXIT_FAILED, CommandFailed, Misused
from askonce.cli.moments import day_end_ms, moment_ms
from askonce.cli.office import ConfigOption, JsonOption, Office, SetOption, work
from askonce.cli.settings import load_settings, overrides
from askonce.cli.tables import lay_out, show, show_json
from askonce.config import secret as secrets
from askonce.config.settings import Config
from askonce.domain.clock import SystemClock
from askonce.domain.errors import StoreUnavailable
from askonce.domain.ledger import Anchor
from askonce.ledger.audit import Watch
from askonce.ledger.audit_chain import Report, Sealed, read_anchor, write_anchor
from askonce.ledger.audit_export import LINE_BYTES, export, verify_export
from askonce.ledger.audit_table import audit, sealed_of
from askonce.ledger.audit_verify import verify
from askonce.ledger.engine import reading
from askonce.state.lmdb_glance import NoBooks
from askonce.wiring.glances import glance_of

app = new_app("Check, show and export the audit log: who changed or revealed what, sealed row by row.")

AnchorOption = Annotated[
    list[str],
    typer.Option("--anchor", metavar="NUMBER:SEAL", help="An end that a log or another machine noted; repeatable."),
]
FirstOption = Annotated[int, typer.Option("--first", min=1, help="The first number.")]


@app.command(name="verify")
def _verify(
    file: Annotated[Path | None, typer.Argument(help="An exported file ('-' is stdin); else the database.")] = None,
    anchor: AnchorOption = [],  # noqa: B006 - typer's way to say: none
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
) -> None:
    """Check every row, link and number, and the end. Exit code 1 if something is wrong.

    A file needs nothing but ASKONCE_SECRET (or the data folder's secret).
    """
    given = [_anchor(text) for text in anchor]
    if file is not None:
        report, strange = _check_file(file, given, config, set_), ""
    else:
        report, strange = work(lambda office: _check_database(office, given), config, set_)
    if as_json:
        show_json(report_json(report, strange))
    else:
        show(told(report, strange))
    if not report.sound:
        sys.exit(EXIT_FAILED)


@app.command(name="show")
def _show(
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=10_000, help="How many of the latest.")] = 20,
    from_: Annotated[str, typer.Option("--from", help="First day or moment (UTC).")] = "",
    to: Annotated[str, typer.Option(help="Last day, or the moment before which.")] = "",
    actor: Annotated[str, typer.Option(help="Who did it, such as key:ID or user:ID.")] = "",
    action: Annotated[str, typer.Option(help="What was done, such as key.created.")] = "",
    tenant: Annotated[str | None, typer.Option(help="This tenant only.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
) -> None:
    """Show the latest rows, the oldest of them first. This does not check them."""
    wanted = select(audit).order_by(audit.c.number.desc()).limit(count)
    if from_:
        wanted = wanted.where(audit.c.at_ms >= moment_ms(from_, "--from"))
    if to:
        wanted = wanted.where(audit.c.at_ms < day_end_ms(to, "--to"))
    for column, value in ((audit.c.actor, actor or None), (audit.c.action, action or None), (audit.c.tenant, tenant)):
        if value is not None:
            wanted = wanted.where(column == value)
    rows = work(lambda office: _rows(office, wanted), config, set_)[::-1]
    if as_json:
        show_json([row_json(row) for row in rows])
    else:
        show(lay_out(("number", "time (UTC)", "severity", "actor", "action", "subject", "tenant", "address", "details"),
                     map(line_of, rows), frozenset({"number"})))  # fmt: skip


@app.command(name="export")
def _export(
    out: Annotated[Path | None, typer.Option(help="File to write, which must not be there; else stdout.")] = None,
    first: FirstOption = 1,
    last: Annotated[int | None, typer.Option("--last", min=1, help="The last number; else the end.")] = None,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
) -> None:
    """Write rows as JSON lines that can be checked without the database: askonce audit verify FILE."""

    async def write(office: Office) -> int:
        await office.recorded(_nothing, lambda _: office.row("audit.exported", "audit", {"first": first, "last": last}))
        lines = 0
        key = office.secret.subkey(secrets.AUDIT_CHAIN)
        with _opened(out) as file:
            async for line in export(office.engine, key, office.clock.wall_ms(), first, last or 2**63 - 1):
                file.write(line)
                lines += 1
            file.flush()
        return lines - 2  # its head and its end

    rows = work(write, config, set_)
    print(f"{rows} rows were exported.", file=sys.stderr)


@app.command(name="accept")
def _accept(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
) -> None:
    """Take the log as it is now for right, after a backup was restored or the secret was lost. That is recorded."""
    if not yes:
        if not sys.stdin.isatty():
            raise Misused("This lets what is wrong with the audit rest; say --yes if that is meant.")
        typer.confirm("Whatever is missing or wrong now will not be missed any more. Accept?", abort=True)

    former, noted = work(_take_for_right, config, set_)
    show(f"noted before: {_written(former) or 'nothing'}")
    show(f"noted now:    {_written(noted) or 'nothing: no server has run with this data folder'}")


async def _take_for_right(office: Office) -> tuple[Anchor | None, Anchor | None]:
    """Record that the log is accepted as it is, and note its end where this machine's server looks for it."""
    glance = glance_of(office.config, office.clock)
    try:
        former, has_books = await glance.read(), True
    except NoBooks:
        former, has_books = None, False
    await office.recorded(
        _nothing,
        lambda _: office.row("audit.accepted", "audit", {"former": _written(former)}, severity="critical"),
        whatever_sealed=True,
    )
    if not has_books:
        return None, None
    await Watch(office.engine, office.secret.subkeys(secrets.AUDIT_CHAIN), glance, office.clock).accept()
    return former, await glance.read()


async def _check_database(office: Office, given: Sequence[Anchor]) -> tuple[Report, str]:
    """Check the chain against the ends that were given, and the one that this machine noted."""
    noted, strange = await _noted(office.config)
    _require_secret(office.config)
    anchors = [*given, *([noted] if noted else [])]
    return await verify(office.engine, office.secret.subkeys(secrets.AUDIT_CHAIN), anchors), strange


async def _noted(config: Config) -> tuple[Anchor | None, str]:
    """Return the end that this machine noted, read before the rows are; else why there is none."""
    try:
        return await glance_of(config, SystemClock()).read(), ""
    except StoreUnavailable as error:
        return None, f"The end that this machine's server noted could not be read: {error.message}"


def _check_file(file: Path, given: Sequence[Anchor], config: Path | None, set_: list[str]) -> Report:
    loaded = load_settings(config, overrides({}, set_)).config
    _require_secret(loaded)
    keys = secrets.find_secret(loaded.secret, Path(loaded.data_dir)).subkeys(secrets.AUDIT_CHAIN)
    try:
        if str(file) == "-":
            return verify_export(_lines(sys.stdin.buffer), keys, given)
        with file.open("rb") as lines:
            return verify_export(_lines(lines), keys, given)
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}.") from error


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Read line by line, none of them longer than one that is refused anyway."""
    return iter(lambda: file.readline(LINE_BYTES + 2), b"")


@contextmanager
def _opened(out: Path | None) -> Iterator[BinaryIO]:
    if out is None:
        yield sys.stdout.buffer
        return
    try:
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            yield file
    except OSError as error:
        raise CommandFailed(f"{out} cannot be written: {error.strerror}.") from error


def _require_secret(config: Config) -> None:
    """Raise `Misused` where checking would only make a new secret, which has sealed nothing."""
    if not config.secret and not (Path(config.data_dir) / secrets.FILE_NAME).exists():
        raise Misused(
            f"ASKONCE_SECRET is not set and {config.data_dir} holds no secret: without the one that sealed the rows "
            "nothing can be checked."
        )


def _anchor(text: str) -> Anchor:
    try:
        return read_anchor(text)
    except ValueError as error:
        raise Misused(f"--anchor {text[:80]}: {error}.") from None


def _written(anchor: Anchor | None) -> str:
    return write_anchor(anchor) if anchor else ""


async def _nothing() -> None:
    """Change nothing: the row itself is the act."""


async def _rows(office: Office, wanted: Select[Any]) -> list[Sealed]:
    async with reading(office.engine) as connection:
        return [sealed_of(fields) for fields in (await connection.execute(wanted)).mappings()]
