"""`askonce jobs`: work in the background on a running server, and the queues that it waits in."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from askonce.cli.answers import keep_files, print_words
from askonce.cli.apps import new_app
from askonce.cli.executions import (
    CountOption,
    IdArgument,
    KindOption,
    QueueOption,
    StatusOption,
    listed,
    safe,
    status_of,
    times_of,
)
from askonce.cli.job_orders import add_orders
from askonce.cli.office import JsonOption
from askonce.cli.servers import KeyOption, UrlOption, find_server
from askonce.cli.tables import lay_out, moment, show, show_json
from askonce.domain.money import dollars

app = new_app("Submit, list, show and cancel jobs of a running server; show, pause and resume its queues.")
add_orders(app)

PATH, QUEUES = "/llm/jobs", "/llm/queues"
QueueArgument = Annotated[str, typer.Argument(metavar="QUEUE", help="The queue: workflows, generation or batch.")]
_HEAD = ("created (UTC)", "id", "kind", "name", "queue", "urgency", "status", "%", "cost")
_STATES = ("queued", "delayed", "running", "succeeded", "failed", "cancelled")


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
    """List jobs, newest first."""
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
            one["queue"],
            one["urgency"],
            status_of(one),
            str(one["progress"]),
            dollars(one["costNano"]),
        )
        for one in told["jobs"]
    ]
    show(lay_out(_HEAD, rows, frozenset({"%", "cost"})) if rows else "There are none.")


@app.command(name="show")
def _show(id: IdArgument, as_json: JsonOption = False, url: UrlOption = None, key: KeyOption = None) -> None:
    """Show how a job is."""
    told = find_server(url, key).get(f"{PATH}/{safe(id)}")
    if as_json:
        show_json(told)
        return
    tries = (
        f"{told['attempts']} of {told['maxAttempts']} tries" if "maxAttempts" in told else f"{told['attempts']} tries"
    )
    lines = [
        f"{told['id']}: {told['kind']} {told['name']!r} in {told['queue']}, {told['urgency']}",
        f"{status_of(told)}, {told['progress']} %, {tries}, {dollars(told['costNano'])}",
        times_of(told),
    ]
    if told["notBefore"]:
        lines.append(f"not before {moment(told['notBefore'])} UTC")
    if "error" in told:
        lines.append(f"{told['error']['message']} ({told['error']['code']})")
    if "webhookDelivery" in told:
        lines.append(delivery_of(told["webhookDelivery"]))
    show("\n".join(lines))


def delivery_of(told: dict[str, Any]) -> str:
    """Say how far the telling of its end has come."""
    tries = "1 try" if told["tries"] == 1 else f"{told['tries']} tries"
    problem = f": {told['problem']}" if "problem" in told else ""
    return f"webhook: {told['status'].replace('_', ' ')} after {tries}{problem}"


@app.command(name="result")
def _result(
    id: IdArgument,
    as_json: JsonOption = False,
    out: Annotated[Path | None, typer.Option(help="Write the answer's files into this folder.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Let --out replace files.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Print what came of a job: its code, or with --json everything."""
    told = find_server(url, key).get(f"{PATH}/{safe(id)}/result")
    if as_json or "code" not in told:
        print_words(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        code = str(told["code"])
        print_words(code, end="" if code.endswith("\n") else "\n")
    if out is not None:
        keep_files(out, told, force)


@app.command(name="cancel")
def _cancel(id: IdArgument, url: UrlOption = None, key: KeyOption = None) -> None:
    """Cancel a job; what runs of it is stopped."""
    told = find_server(url, key).delete(f"{PATH}/{safe(id)}")
    show(f"{told['id']} is {status_of(told)}.")


@app.command(name="stats")
def _stats(as_json: JsonOption = False, url: UrlOption = None, key: KeyOption = None) -> None:
    """Show how the queues are."""
    told = find_server(url, key).get(QUEUES)
    if as_json:
        show_json(told)
        return
    rows = [
        (
            queue["name"],
            "paused" if queue["paused"] else "goes",
            *(f"{queue[state]:,}" for state in _STATES),
            moment(queue["oldest"], "-"),
        )
        for queue in told["queues"]
    ]
    show(lay_out(("queue", "", *_STATES, "oldest since (UTC)"), rows, frozenset(_STATES)))


@app.command(name="pause")
def _pause(queue: QueueArgument, url: UrlOption = None, key: KeyOption = None) -> None:
    """Begin nothing more of a queue until it is resumed; what runs goes on. Needs the scope root."""
    told = find_server(url, key).post(f"{QUEUES}/{safe(queue)}/pause", {})
    show(f"{told['name']} is paused, with {told['queued'] + told['delayed']:,} in it.")


@app.command(name="resume")
def _resume(queue: QueueArgument, url: UrlOption = None, key: KeyOption = None) -> None:
    """Let a paused queue go on. Needs the scope root."""
    told = find_server(url, key).post(f"{QUEUES}/{safe(queue)}/resume", {})
    show(f"{told['name']} goes on, with {told['queued'] + told['delayed']:,} in it.")
