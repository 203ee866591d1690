"""`askonce executions`: workflows and jobs on a running server: list, show, resume, cancel."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from askonce.cli.apps import new_app
from askonce.cli.client import Server
from askonce.cli.office import JsonOption
from askonce.cli.servers import KeyOption, UrlOption, find_server
from askonce.cli.tables import lay_out, moment, show, show_json
from askonce.domain.money import dollars

app = new_app("List, show, resume and cancel executions of a running server.")

PATH = "/llm/executions"
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The execution's id.")]
StatusOption = Annotated[str, typer.Option(help="Statuses, by commas: queued, running, succeeded, failed, cancelled.")]
KindOption = Annotated[str, typer.Option(help="Kind: workflow, or generate for single questions.")]
QueueOption = Annotated[str, typer.Option(help="Queue: workflows, generation or batch.")]
CountOption = Annotated[int, typer.Option("--count", "-n", min=1, max=500, help="How many of the latest.")]
_HEAD = ("created (UTC)", "id", "kind", "name", "status", "%", "cost", "saved")
_RIGHT = frozenset({"%", "cost", "saved"})


@app.command(name="list")
def _list(
    status: StatusOption = "",
    kind: KindOption = "",
    queue: QueueOption = "",
    count: CountOption = 20,
    as_json: JsonOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """List executions, newest first."""
    told = listed(find_server(url, key), PATH, {"status": status, "kind": kind, "queue": queue, "limit": str(count)})
    if as_json:
        show_json(told)
        return
    rows = [
        (
            moment(one["createdAt"]),
            one["id"],
            one["kind"],
            one["name"],
            status_of(one),
            str(one["progress"]),
            dollars(one["totals"]["costNano"]),
            dollars(one["totals"]["savedNano"]),
        )
        for one in told["executions"]
    ]
    show(lay_out(_HEAD, rows, _RIGHT) if rows else "There are none.")


@app.command(name="show")
def _show(id: IdArgument, as_json: JsonOption = False, url: UrlOption = None, key: KeyOption = None) -> None:
    """Show an execution and its nodes."""
    told = find_server(url, key).get(f"{PATH}/{safe(id)}")
    if as_json:
        show_json(told)
    else:
        show(page(told))


@app.command(name="resume")
def _resume(id: IdArgument, url: UrlOption = None, key: KeyOption = None) -> None:
    """Go on with one that failed or was cancelled; what was done of it stays done."""
    told = find_server(url, key).post(f"{PATH}/{safe(id)}/resume", {})
    show(f"{told['executionId']} is {told['status']}.")


@app.command(name="cancel")
def _cancel(id: IdArgument, url: UrlOption = None, key: KeyOption = None) -> None:
    """Cancel one; what runs of it is stopped."""
    told = find_server(url, key).delete(f"{PATH}/{safe(id)}")
    show(f"{told['id']} is {status_of(told)}.")


def listed(server: Server, path: str, narrowed: dict[str, str]) -> dict[str, Any]:
    """Fetch a page of a list."""
    query = "&".join(f"{name}={safe(value)}" for name, value in narrowed.items() if value)
    return server.get(f"{path}?{query}")


def safe(text: str) -> str:
    """Return a text as a part of an address."""
    return quote(text, safe="")


def status_of(told: dict[str, Any]) -> str:
    """Say how one is."""
    return "cancelling" if told.get("cancelling") else str(told["status"])


def times_of(told: dict[str, Any]) -> str:
    """Say when it was what."""
    created, started, ended = (moment(told[name]) for name in ("createdAt", "startedAt", "endedAt"))
    return f"created {created}, started {started}, ended {ended} UTC"


def page(told: dict[str, Any]) -> str:
    """Lay an execution out for people."""
    totals = told["totals"]
    lines = [
        f"{told['id']}: {told['kind']} {told['name']!r}, round {told['round']}",
        f"{status_of(told)}, {told['progress']} %",
        times_of(told),
        f"{totals['totalTokens']:,} tokens, {totals['cost']}, saved {totals['saved']}",
    ]
    if "error" in told:
        lines.append(f"{told['error']['message']} ({told['error']['code']})")
    return "\n".join([*lines, "", nodes_table(told.get("nodes", []))])


def nodes_table(nodes: list[dict[str, Any]]) -> str:
    """Lay nodes out for people."""
    head = ("node", "type", "status", "tries", "model", "cache", "cost", "score", "")
    rows = [
        (
            node["id"],
            node["type"],
            node["status"],
            str(node["attempts"]),
            f"{node['provider']}:{node['model']}" if node["model"] else "-",
            node["cache"] or "-",
            node["cost"],
            str(node.get("score", "-")),
            node["error"]["message"] if "error" in node else node.get("note", ""),
        )
        for node in nodes
    ]
    return lay_out(head, rows, frozenset({"tries", "cost", "score"}))
