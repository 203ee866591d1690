"""`askonce ask "prompt"`: ask a running server.

On a terminal the answer's text appears as it comes; into a pipe or file goes the code alone. What it cost goes to
stderr.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from askonce.cli.answers import keep_files, print_words
from askonce.cli.apps import new_app
from askonce.cli.client import FAILED, Server
from askonce.cli.exits import CommandFailed, Misused, Refused
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
        print_words(json.dumps(answer, ensure_ascii=False, indent=2))
    elif not live:
        code = str(answer.get("code", ""))
        print_words(code, end="" if code.endswith("\n") else "\n")
    if out is not None:
        keep_files(out, answer, force)
    print(harmless(summary(answer.get("metadata", {}))), file=sys.stderr)


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
            print_words(str(data.get("text", "")), end="")
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
