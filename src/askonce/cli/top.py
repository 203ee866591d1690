"""`askonce top`: what a running server is doing, drawn anew every few seconds."""

import json
import sys
import time
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from askonce.cli.apps import new_app
from askonce.cli.client import Server
from askonce.cli.servers import KeyOption, UrlOption, find_server
from askonce.cli.terminal import harmless

app = new_app()
_MIB = 1 << 20
ROWS = 12  # of a table: what does not fit a screen is seen by --json


@app.command(name="top")
def _top(
    every: Annotated[float, typer.Option("--every", "-n", min=0.5, max=60, help="Seconds between two looks.")] = 2.0,
    minutes: Annotated[int, typer.Option("--minutes", "-m", min=1, max=60, help="How far back times go.")] = 5,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one look as JSON and end.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Show requests, money, times by door, provider and stage, and processes, live. Ctrl-C ends it."""
    server = find_server(url, key)
    look = take(server, minutes)
    if as_json:
        print(json.dumps(look, indent=2))
        return
    console = Console(highlight=False)
    if once or not sys.stdout.isatty():
        console.print(drawn(look, {}, 0.0))
        return
    with Live(drawn(look, {}, 0.0), console=console, screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(every)
                former, look = look, take(server, minutes)
                live.update(drawn(look, former, every), refresh=True)
        except KeyboardInterrupt:
            return


def take(server: Server, minutes: int) -> dict[str, Any]:
    """Ask the server how it is. Raises `CommandFailed`."""
    return {
        "performance": server.get(f"/admin/performance?minutes={minutes}"),
        "stats": server.get("/llm/cache/stats"),
        "ready": server.look("/ready")[1],
        "url": server.url,
    }


def drawn(look: dict[str, Any], former: dict[str, Any], passed_s: float) -> Group:
    """Draw one look; rates are those since the former one, `passed_s` ago."""
    seen = look["performance"]
    minutes = max(1, round((seen["until"] - seen["since"]) / 60_000))
    return Group(
        _head(look, former, passed_s),
        _times("door", [(_door(one), one["took"]) for one in seen["doors"]], minutes),
        _times("provider", _providers(seen["providers"]), minutes),
        _times("stage", [(one["stage"], one["took"]) for one in seen["stages"]], minutes),
        _processes(seen["processes"]),
    )


def _head(look: dict[str, Any], former: dict[str, Any], passed_s: float) -> Text:
    stats, ready = look["stats"], look["ready"]
    parts = ready.get("parts", {}) if isinstance(ready, dict) else {}
    ailing = [f"{name} {part.get('status')}" for name, part in parts.items() if part.get("status") not in {"ok", "off"}]
    text = Text()
    text.append(f"{harmless(look['url'])}  ", style="bold")
    text.append("ready" if not ailing else harmless(", ".join(ailing)), style="green" if not ailing else "yellow")
    text.append(f"\nhits {stats['hits']}{_rate(stats, former, passed_s, 'hits')}")
    text.append(f"   misses {stats['misses']}{_rate(stats, former, passed_s, 'misses')}")
    text.append(f"   joined {stats['coalesced']}   hit rate {stats['hitRate']} %")
    text.append(f"   saved {stats['estimatedSavings']}   spent {stats.get('spent', '?')}\n")
    return text


def _rate(stats: dict[str, Any], former: dict[str, Any], passed_s: float, name: str) -> str:
    if not former or passed_s <= 0:
        return ""
    return f" ({max(0, stats[name] - former['stats'][name]) / passed_s:.1f}/s)"


def _door(row: dict[str, Any]) -> str:
    return f"{row['door'] or '(none)'} {row['cache']}".strip()


def _providers(rows: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for one in rows:
        name = f"{one['provider']} {one['model']}"
        found.append((name, one["took"]))
        if one["firstToken"]["count"]:
            found.append((f"{name} first token", one["firstToken"]))
    return found


def _times(title: str, rows: list[tuple[str, dict[str, Any]]], minutes: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column(f"{title}, last {minutes} min", min_width=36, no_wrap=True)
    for name in ("count", "p50 ms", "p95 ms", "p99 ms"):
        table.add_column(name, justify="right", min_width=9)
    for name, took in sorted(rows, key=lambda row: -row[1]["count"])[:ROWS]:
        cells = [_number(took[key]) for key in ("p50Ms", "p95Ms", "p99Ms")]
        table.add_row(harmless(name), str(took["count"]), *cells)
    return table


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _processes(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("process", min_width=36)
    for name in ("cpu s", "memory MB", "files", "in flight"):
        table.add_column(name, justify="right", min_width=9)
    for one in rows:
        memory = f"{one['residentBytes'] / _MIB:.0f}"
        table.add_row(
            harmless(one["process"]), f"{one['cpuSeconds']:.1f}", memory, str(one["openFiles"]), str(one["inFlight"])
        )
    return table
