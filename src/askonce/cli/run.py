"""`askonce run graph.yaml`: run a workflow on a running server, and watch its nodes.

The run is the server's: whoever stops watching (Ctrl-C) stops nothing, and can look again with `askonce executions`.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from askonce.cli.answers import keep_files, print_words
from askonce.cli.apps import new_app
from askonce.cli.client import Server
from askonce.cli.executions import PATH, nodes_table, safe
from askonce.cli.exits import CommandFailed, Misused
from askonce.cli.office import JsonOption
from askonce.cli.servers import KeyOption, UrlOption, find_server
from askonce.cli.terminal import harmless
from askonce.domain.money import dollars

app = new_app()

MAX_FILE = 4 << 20  # bytes
TAIL_CHARS = 60  # of a node's words, in the live view
_WISHED = ("prompt", "graph")  # what tells a whole body from a bare graph
_STYLES = {"running": "cyan", "succeeded": "green", "failed": "red", "cancelled": "yellow", "skipped": "dim"}


@app.command(name="run")
def _run(
    graph: Annotated[Path, typer.Argument(help="The graph, as YAML or JSON: nodes, or graph and input; or a wish.")],
    input: Annotated[
        list[str],
        typer.Option("--input", "-i", help="A value for the templates, as name=value or name=@file; repeatable."),
    ] = [],  # noqa: B006 - typer's way to say: none
    watch: Annotated[bool, typer.Option("--watch", help="Show the nodes as they go.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Print the execution's id, and do not wait.")] = False,
    as_json: JsonOption = False,
    out: Annotated[Path | None, typer.Option(help="Write the files into this folder.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Let --out replace files.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Run a workflow, wait for its end, and print what came of it."""
    if detach and (watch or as_json or out is not None):
        raise Misused("--detach goes with none of --watch, --json and --out: it does not wait.")
    body = read_body(graph, input)
    server = find_server(url, key)
    id = str(server.post("/llm/execute-workflow", {**body, "wait": False})["executionId"])
    if detach:
        print(id)
        return
    told = followed(server, id, watch)
    if as_json:
        print_words(json.dumps(told, ensure_ascii=False, indent=2))
    if told["status"] != "succeeded":
        raise CommandFailed(ending(told))
    result = told["result"]
    if not as_json and out is None:
        code = str(result.get("code", ""))
        print_words(code, end="" if code.endswith("\n") else "\n")
    if out is not None:
        keep_files(out, result, force)
    print(harmless(summary(told)), file=sys.stderr)


def read_body(path: Path, given: list[str]) -> dict[str, Any]:
    """Read a graph's file and what is given for its templates. Raises `Misused`."""
    told = _loaded(path)
    if not isinstance(told, dict):
        raise Misused(f"{path} holds no graph: write nodes, or graph and input.")
    body = dict(told) if any(name in told for name in _WISHED) else {"graph": told}
    body.pop("stream", None)
    values = dict(map(_given, given))
    if values:
        if "graph" not in body:
            raise Misused("--input is for graphs of one's own; this file wishes for the standard workflow.")
        kept = body.get("input") or {}
        if not isinstance(kept, dict):
            raise Misused(f"{path}: input must hold names and values.")
        body["input"] = {**kept, **values}
    return body


def _loaded(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
        if len(raw) > MAX_FILE:
            raise Misused(f"{path} is larger than {MAX_FILE >> 20} MiB.")
        return yaml.safe_load(raw)  # which reads JSON, too
    except OSError as error:
        raise Misused(f"{path}: {error.strerror}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where is not None else ""
        raise Misused(f"{path} is neither YAML nor JSON{line}.") from error


def _given(text: str) -> tuple[str, str]:
    name, is_one, value = text.partition("=")
    if not is_one or not name:
        raise Misused(f"--input {text}: write name=value, or name=@file.")
    if not value.startswith("@"):
        return name, value
    try:
        return name, Path(value[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misused(f"--input {text}: {getattr(error, 'strerror', None) or 'it is no text in UTF-8'}.") from error


def followed(server: Server, id: str, watch: bool) -> dict[str, Any]:
    """Follow an execution to its end, and return its document."""
    path = f"{PATH}/{safe(id)}"
    view = View(server.get(path)["nodes"])
    try:
        with _shown(view, watch) as show:
            for name, data in server.follow(f"{path}/events"):
                show(view.take(name, data))
    except KeyboardInterrupt:
        print(f"\nThe run goes on: askonce executions show {id}, or cancel {id}.", file=sys.stderr)
        raise
    return server.get(path)


class View:
    """Know how the nodes are, by what their events say."""

    def __init__(self, nodes: list[dict[str, Any]]) -> None:
        self._nodes = {
            node["id"]: {"id": node["id"], "type": node["type"], "status": "waiting", "words": ""} for node in nodes
        }

    def take(self, name: str, data: dict[str, Any]) -> str:
        """Take an event in; return a line that tells of it, "" for none."""
        node = self._nodes.get(str(data.get("id")))
        if node is None or name not in ("node", "text"):
            return ""
        if name == "text":
            words = str(data.get("text", ""))
            node["words"] = words if not data.get("at") else (node["words"] + words)[-TAIL_CHARS * 4 :]
            return ""
        node |= {**dict.fromkeys(("waitsFor", "error", "score", "model"), ""), **data}
        return self._line(node)

    def table(self) -> Table:
        """Show the nodes as they are."""
        table = Table(box=None, pad_edge=False)
        for head in ("node", "type", "status", "model", "cost", ""):
            table.add_column(head, no_wrap=head != "")
        for node in self._nodes.values():
            status = self._status(node)
            cells = (node["id"], node["type"], status, self._who(node), self._cost(node), self._tail(node))
            table.add_row(*(Text(harmless(str(cell))) for cell in cells), style=_STYLES.get(node["status"], ""))
        return table

    def _line(self, node: dict[str, Any]) -> str:
        more = [one for one in (self._who(node), self._cost(node), str(node.get("error", ""))) if one]
        return f"{node['id']}: {self._status(node)}" + (f" ({', '.join(more)})" if more else "")

    def _status(self, node: dict[str, Any]) -> str:
        waits = node.get("waitsFor")
        score = node.get("score")
        return f"waits: {waits}" if waits else f"{node['status']}, {score}" if score else str(node["status"])

    def _who(self, node: dict[str, Any]) -> str:
        return f"{node.get('provider')}:{node['model']}" if node.get("model") else ""

    def _cost(self, node: dict[str, Any]) -> str:
        return dollars(int(node["costNano"])) if node.get("costNano") else str(node.get("cache", ""))

    def _tail(self, node: dict[str, Any]) -> str:
        if node.get("error"):
            return str(node["error"])
        return " ".join(str(node["words"]).split())[-TAIL_CHARS:] if node["status"] == "running" else ""


@contextmanager
def _shown(view: View, watch: bool) -> Iterator[Any]:
    """Show the nodes while they go: as a table on a terminal, else a line for each change."""
    if not watch:
        yield lambda line: None
    elif not sys.stderr.isatty():
        yield lambda line: print(harmless(line), file=sys.stderr, flush=True) if line else None
    else:
        with Live(view.table(), console=Console(stderr=True), refresh_per_second=8) as live:
            yield lambda line: live.update(view.table())


def ending(told: dict[str, Any]) -> str:
    """Say how a run ended that did not end well."""
    error = told.get("error") or {"message": "No reason was left.", "code": told["status"]}
    words = f"{told['id']} {told['status']}: {error['message']} ({error['code']})"
    go_on = f"\nWhat was done is kept: askonce executions resume {told['id']} goes on there."
    return f"{words}\n\n{nodes_table(told.get('nodes', []))}\n{go_on}"


def summary(told: dict[str, Any]) -> str:
    """Say in one line what a run that ended well took."""
    totals, seconds = told["totals"], max(0, told["endedAt"] - told["startedAt"]) / 1000
    numbers = f"{len(told['nodes'])} nodes, {totals['totalTokens']:,} tokens, {totals['cost']}, saved {totals['saved']}"
    return f"[{told['id']}] {numbers}, {seconds:.1f} s\n{told['result'].get('summary', '')}".rstrip()
