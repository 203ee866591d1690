"""`askonce ask "prompt"`: ask a running server.

On a terminal the answer's text appears as it comes; into a pipe or file goes the code alone. What it cost goes to
stderr.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from askonce.cli.apps import new_app
from askonce.cli.client import FAILED, Server
from askonce.cli.exits import CommandFailed, Misused, Refused
from askonce.cli.files import Produced, write_files
from askonce.cli.servers import KeyOption, UrlOption, find_server
from askonce.cli.terminal import harmless
from askonce.domain.errors import BY_CODE, InternalError

app = new_app()
_MAX_PROMPT = 16 << 20  # bytes; the server's own default bound


@app.command(name="ask")
def _ask(
    prompt: Annotated[
        str | None,
        typer.Argument(help="What to ask; `-`, or nothing behind a pipe, reads it from stdin."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model, as `gpt-4o` or `openai:gpt-4o`.")] = None,
    system: Annotated[str | None, typer.Option(help="System prompt.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither read nor keep the answer.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask again, and keep the new answer.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the server's whole answer.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the answer's files into this folder.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Let --out replace files.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Ask a running server and print the code; a question that was answered before costs nothing."""
    if no_cache and refresh:
        raise Misused("--no-cache and --refresh exclude each other.")
    body = _body(_read(prompt), model, system, "off" if no_cache else "refresh" if refresh else "default")
    live = sys.stdout.isatty() and not as_json
    answer = _answer(find_server(url, key), body, live)
    if as_json:
        _print(json.dumps(answer, ensure_ascii=False, indent=2))
    elif not live:
        code = str(answer.get("code", ""))
        _print(code, end="" if code.endswith("\n") else "\n")
    if out is not None:
        _keep(out, answer, force)
    print(harmless(summary(answer.get("metadata", {}))), file=sys.stderr)


def _print(text: str, end: str = "\n") -> None:
    """Print what a model wrote: as it is into files and pipes, to a terminal without what would steer it."""
    print(harmless(text) if sys.stdout.isatty() else text, end=end, flush=True)


def summary(metadata: dict[str, Any]) -> str:
    """Say in one line who answered, from where, at what cost."""
    usage = metadata.get("usage", {})
    tokens = f"{usage.get('promptTokens', 0)} + {usage.get('completionTokens', 0)} tokens"
    money = f"saved {metadata.get('saved')}" if metadata.get("cached") else str(metadata.get("cost"))
    who = f"{metadata.get('provider')}:{metadata.get('model')}"
    return f"[{metadata.get('cache')}] {who}, {tokens}, {money}, {metadata.get('latencyMs')} ms"


def _read(prompt: str | None) -> str:
    if prompt is None and sys.stdin.isatty():
        raise Misused('There is no prompt; write it behind the command, as in askonce ask "…", or pipe it in.')
    if prompt is None or prompt == "-":
        prompt = sys.stdin.buffer.read(_MAX_PROMPT).decode(errors="replace")
    if not prompt.strip():
        raise Misused("The prompt is empty.")
    return prompt


def _body(prompt: str, model: str | None, system: str | None, cache: str) -> dict[str, object]:
    body: dict[str, object] = {"prompt": prompt, "stream": True}
    if model:
        body["model"] = model
    if system:
        body["system"] = system
    if cache != "default":
        body["cache"] = {"mode": cache}
    return body


def _answer(server: Server, body: dict[str, object], live: bool) -> dict[str, Any]:
    """Read the stream to its end and return the whole answer, showing its text as it comes if `live`."""
    for name, data in server.stream("/llm/generate", body):
        if name == "delta" and live:
            _print(str(data.get("text", "")), end="")
        elif name == "done":
            if live:
                print()
            return data
        elif name == "error":
            raise _ended(data)
    raise CommandFailed("The answer broke off.")


def _ended(error: dict[str, Any]) -> CommandFailed:
    """Make of a stream's last event what its status would have said: refused, or failed."""
    said = f"{error.get('error')}: {error.get('message')} ({error.get('code')})"
    kind = BY_CODE.get(str(error.get("code")), InternalError)
    return Refused(said) if kind.status < FAILED else CommandFailed(said)


def _keep(out: Path, answer: dict[str, Any], force: bool) -> None:
    files = list(_files(answer))
    warnings = [harmless(str(one)) for one in answer.get("metadata", {}).get("warnings") or ()]
    if not files:
        why = " ".join(warnings) or "without --out its code is printed."
        raise CommandFailed(f"The answer holds no files that can be written; {why}")
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for path in write_files(out, files, force):
        print(f"wrote {path}", file=sys.stderr)


def _files(answer: dict[str, Any]) -> Iterator[Produced]:
    for one in answer.get("files", ()):
        yield Produced(str(one["path"]), str(one["content"]))
