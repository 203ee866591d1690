"""`askonce serve`: run the gateway until told to stop."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from askonce.cli.apps import new_app
from askonce.cli.settings import ConfigOption, SetOption, load_settings, overrides
from askonce.supervisor.house import serve
from askonce.supervisor.logging_out import log_as
from askonce.supervisor.preflight import doubts
from askonce.supervisor.screen import Screen
from askonce.telemetry import logs

app = new_app()


@app.command(name="serve")
def _serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [3001]; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Gateway processes [1].")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder for the cache and the books.")] = None,
    open_: Annotated[bool | None, typer.Option("--open", help="Serve other machines without keys.")] = None,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006 - typer's way to say: none
) -> None:
    """Run the gateway: SIGTERM or Ctrl-C lets requests in flight end, a second one does not."""
    named = {"host": host, "port": port, "workers": workers, "data_dir": data_dir, "open": open_}
    loaded = load_settings(config, overrides(named, set_))
    log_as(loaded.config)
    for remark in (*loaded.remarks, *doubts(loaded.config)):
        logs.get("askonce.config").warning(remark)
    sys.exit(serve(loaded.config, Screen(sys.stdout)))
