"""Which server a command talks to: the one that is named, else the one that this machine's settings describe."""

import os
from typing import Annotated
from urllib.parse import urlsplit

import typer

from askonce.cli.client import Server
from askonce.cli.exits import Misused
from askonce.cli.settings import load_settings
from askonce.config.table import KEY_VARIABLE
from askonce.supervisor.screen import address

URL_VARIABLE = "ASKONCE_URL"
UrlOption = Annotated[
    str | None, typer.Option("--url", help="Server to talk to; else ASKONCE_URL, else the settings'.")
]
KeyOption = Annotated[str | None, typer.Option("--key", help="API key; else ASKONCE_KEY, else the settings' first.")]


def find_server(url: str | None, key: str | None) -> Server:
    """Choose server and key. Raises `ConfigError`, `Misused`.

    The settings' own key goes only to the settings' own server, and to another machine that merely the working
    folder's file names goes no key but that file's own.
    """
    url = url or os.environ.get(URL_VARIABLE)
    key = key or os.environ.get(KEY_VARIABLE) or ""
    if url:
        return Server(url.rstrip("/"), key)
    loaded = load_settings()
    config, origin = loaded.config, "" if key else loaded.origins["keys"]
    if not key and config.keys:
        key = config.keys[0].secret
    server = Server(address(config, config.port), key)
    if key and origin != loaded.file and loaded.strays(loaded.origins["host"], _host(server.url)):
        raise Misused(
            f"host = {config.host!r} ({loaded.file}): this folder's file names another machine, so your key is not "
            "sent there; name the server with --url or ASKONCE_URL, or the file with ASKONCE_CONFIG."
        )
    return server


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # a host that is no host, which the client will refuse too
        return ""
