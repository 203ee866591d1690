"""`askonce models list|pull`: what can be asked, and the embedded model's weights."""

import json
from typing import Annotated, Any

import typer

from askonce.cli.apps import new_app
from askonce.cli.exits import CommandFailed
from askonce.cli.progress import pull_with_bar
from askonce.cli.servers import KeyOption, UrlOption, find_server
from askonce.cli.settings import ConfigOption, load_settings
from askonce.localmodel.pull import PullError
from askonce.localmodel.weights import DEFAULT, find

app = new_app("List the models that can be asked, and fetch the embedded one.")


@app.command(name="list")
def _list(
    as_json: Annotated[bool, typer.Option("--json", help="Print the server's whole answer.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """List what a running server can ask now."""
    found = find_server(url, key).get("/llm/models")
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return
    for line in lines(found):
        print(line)


@app.command(name="pull")
def _pull(
    name: Annotated[str, typer.Argument(help="Name of the weights.")] = DEFAULT,
    config: ConfigOption = None,
) -> None:
    """Fetch an embedded model's weights and check their SHA-256; needs no server."""
    weights = find(name)
    models_dir = load_settings(config).config.models_dir
    print(f"{weights.origin} ({weights.licence}), {weights.bytes / 1e6:.0f} MB, SHA-256 {weights.sha256}")
    try:
        path = pull_with_bar(weights, models_dir)
    except PullError as error:
        raise CommandFailed(str(error)) from error
    print(f"{path} is there, and is what it should be.")


def lines(found: dict[str, Any]) -> list[str]:
    """Lay the models out for people, one a line."""
    models = found.get("models", [])
    return [_line(one) for one in models] or ["No model can be asked; `askonce doctor` looks for the reason."]


def _line(model: dict[str, Any]) -> str:
    window, prices = model.get("contextWindow"), model.get("prices") or {}
    told = [
        f"{window} tokens" if window else "",
        f"${prices['input']} in, ${prices['output']} out per million tokens" if "input" in prices else "",
        "default" if model.get("default") else "",
        ", ".join(model.get("aliases") or ()),
        str(model.get("note") or ""),
    ]
    return f"{model.get('id')!s:<44} {'; '.join(part for part in told if part)}".rstrip()
