"""`askonce stats`: what the cache did and saved."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from askonce.cli.apps import new_app
from askonce.cli.servers import KeyOption, UrlOption, find_server

app = new_app()


@app.command(name="stats")
def _stats(
    as_json: Annotated[bool, typer.Option("--json", help="Print the server's whole answer.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Show hits, misses and savings of a running server."""
    stats = find_server(url, key).get("/llm/cache/stats")
    print(json.dumps(stats, indent=2) if as_json else table(stats))


def _moment(epoch_ms: object) -> str:
    if not isinstance(epoch_ms, int) or not epoch_ms:
        return "never"
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _spent(stats: dict[str, Any]) -> str:
    unpriced = stats.get("unpriced")
    return f"{stats.get('spent')}" + (f", and {unpriced} calls without a known price" if unpriced else "")


def table(stats: dict[str, Any]) -> str:
    """Lay the sums out for people."""
    rows = [
        ("hits", stats.get("hits")),
        ("misses", stats.get("misses")),
        ("hit rate", f"{stats.get('hitRate')} %"),
        ("joined in flight", stats.get("coalesced")),
        ("saved", f"{stats.get('estimatedSavings')}, {stats.get('savedTokens')} tokens"),
        ("spent", _spent(stats)),
        ("kept", f"{stats.get('entries')} answers, {stats.get('bytes')} bytes"),
        ("since", _moment(stats.get("since"))),
    ]
    lines = [f"{name:>16}  {value}" for name, value in rows]
    advice = stats.get("advice")
    return "\n".join(lines + ([f"\n{advice}"] if advice else []))
