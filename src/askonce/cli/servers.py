"""Which server a command talks to: the one that is named, else the one that this machine's settings describe."""

import os
from typing import Annotated

import typer

from askonce.cli.client import Server
from askonce.cli.settings import load_settings
from askonce.supervisor.screen import address

UrlOption = Annotated[
    str | None, typer.Option("--url", help="Server to talk to; else ASKONCE_URL, else the settings'.")
]
KeyOption = Annotated[str | None, typer.Option("--key", help="API key; else ASKONCE_KEY, else the settings' first.")]


def find_server(url: str | None, key: str | None) -> Server:
    """Choose server and key. The settings' own key goes only to the settings' own server. Raises `ConfigError`."""
    url = url or os.environ.get("ASKONCE_URL")
    key = key or os.environ.get("ASKONCE_KEY") or ""
    if url:
        return Server(url.rstrip("/"), key)
    config = load_settings().config
    if not key and config.keys:
        key = config.keys[0].secret
    return Server(address(config, config.port), key)
