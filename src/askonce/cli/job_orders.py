"""`askonce jobs submit`, `batch` and `results`: work for the background, and what came of many lines."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from askonce.cli.answers import print_words
from askonce.cli.client import Server
from askonce.cli.executions import safe
from askonce.cli.exits import Misused
from askonce.cli.office import JsonOption
from askonce.cli.run import read_body
from askonce.cli.servers import KeyOption, UrlOption, find_server
from askonce.cli.tables import show, show_json
from askonce.domain.money import dollars

JOBS, BATCHES = "/llm/jobs", "/llm/batches"
MAX_LINES = 64 << 20  # bytes; the server's own bound is lower, and says so

PromptArgument = Annotated[str, typer.Argument(help="The question; - reads it from standard input.")]
LinesArgument = Annotated[Path, typer.Argument(help="A file of JSON lines in the shape of OpenAI's batches.")]
BatchArgument = Annotated[str, typer.Argument(metavar="BATCH", help="The batch's id.")]
GraphOption = Annotated[Path | None, typer.Option(help="Submit this graph instead of a question.")]
ModelOption = Annotated[str, typer.Option(help="Who is asked, as provider:model or an alias.")]
UrgencyOption = Annotated[str, typer.Option(help="LOW, MEDIUM, HIGH or CRITICAL.")]
DelayOption = Annotated[int, typer.Option(min=0, help="Seconds that it is not begun for.")]
DedupOption = Annotated[str, typer.Option(help="Its name: while a job of that name lives, that one is returned.")]
TimeoutOption = Annotated[int, typer.Option(min=0, help="Seconds that it may take; 0: the server's bound.")]
WebhookOption = Annotated[str, typer.Option(help="An address that is told of its end (see webhook_hosts).")]


def add_orders(app: typer.Typer) -> None:
    """Add the commands that make jobs."""
    app.command(name="submit")(_submit)
    app.command(name="batch")(_batch)
    app.command(name="results")(_results)


def _submit(
    prompt: PromptArgument = "",
    graph: GraphOption = None,
    model: ModelOption = "",
    urgency: UrgencyOption = "MEDIUM",
    delay: DelayOption = 0,
    dedup: DedupOption = "",
    timeout: TimeoutOption = 0,
    webhook: WebhookOption = "",
    as_json: JsonOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Ask, or run a graph, in the background; print the job's id."""
    wanted = {"dedup": dedup, "timeout": timeout, "webhook": webhook}
    body = _question(prompt, model) if graph is None else {"kind": "workflow", "body": _graph(graph, prompt, model)}
    body |= {"urgency": urgency.upper(), "delay": delay}
    told = find_server(url, key).post(JOBS, body | {name: value for name, value in wanted.items() if value})
    if as_json:
        show_json(told)
        return
    print(told["jobId"])
    if told.get("deduplicated"):
        print("It was there already, and is not done twice.", file=sys.stderr)


def _question(prompt: str, model: str) -> dict[str, Any]:
    words = sys.stdin.read() if prompt == "-" else prompt
    if not words.strip():
        raise Misused("Say what to ask, or which graph to run with --graph.")
    return {"kind": "generate", "body": {"prompt": words} | ({"model": model} if model else {})}


def _graph(path: Path, prompt: str, model: str) -> dict[str, Any]:
    if prompt or model:
        raise Misused("--graph goes with no question and no --model: its nodes say both.")
    return read_body(path, [])


def _batch(lines: LinesArgument, as_json: JsonOption = False, url: UrlOption = None, key: KeyOption = None) -> None:
    """Ask many questions, a line each; print the batch's id."""
    try:
        with lines.open("rb") as file:
            read = file.read(MAX_LINES + 1)
    except OSError as error:
        raise Misused(f"{lines}: {error.strerror}.") from error
    if len(read) > MAX_LINES:
        raise Misused(f"{lines} is larger than {MAX_LINES >> 20} MiB.")
    told = find_server(url, key).post_lines(BATCHES, read)
    if as_json:
        show_json(told)
        return
    print(told["id"])
    print(_progress(told), file=sys.stderr)


def _results(id: BatchArgument, as_json: JsonOption = False, url: UrlOption = None, key: KeyOption = None) -> None:
    """Print a batch's answers as JSON lines once it has ended; before, say how far it is. --json: only the latter."""
    server: Server = find_server(url, key)
    told = server.get(f"{BATCHES}/{safe(id)}")
    if as_json:
        show_json(told)
    elif told["status"] == "in_progress":
        show(_progress(told))
    else:
        print_words(server.fetch(f"{BATCHES}/{safe(id)}/results"), end="")
        print(_progress(told), file=sys.stderr)


def _progress(told: dict[str, Any]) -> str:
    counts = told["request_counts"]
    parts = ", ".join(f"{counts[name]:,} {name}" for name in ("completed", "failed", "cancelled") if counts[name])
    status = str(told["status"]).replace("_", " ")
    cost, saved = dollars(told["cost_nano"]), dollars(told["saved_nano"])
    return f"{status}: {counts['total']:,} lines{', ' + parts if parts else ''}; {cost}, {saved} saved"
