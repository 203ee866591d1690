"""`askonce worker`: bring what happened into the database, apart from `askonce serve`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from askonce.cli.apps import new_app
from askonce.cli.settings import ConfigOption, SetOption, load_settings, overrides
from askonce.config.secret import WEBHOOKS, find_secret
from askonce.supervisor.folder import DataFolder
from askonce.supervisor.posts import next_incarnation
from askonce.supervisor.preflight import preflight_worker
from askonce.supervisor.working import work_alone
from askonce.telemetry import logs
from askonce.wiring.worker import Worker

app = new_app()


@app.command(name="worker")
def _worker(
    data_dir: Annotated[Path | None, typer.Option(help="Folder whose gateways are served.")] = None,
    webhook_key: Annotated[
        bool, typer.Option("--webhook-key", help="Print the key that signs webhooks, and do nothing else.")
    ] = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006 - typer's way to say: none
) -> None:
    """Run the worker of one data folder beside `askonce serve`, which needs `ledger_worker = off` then."""
    loaded = load_settings(config, overrides({"data_dir": data_dir}, set_))
    settings = loaded.config
    DataFolder.prepare(Path(settings.data_dir))
    preflight_worker(settings)
    if webhook_key:
        print(find_secret(settings.secret, Path(settings.data_dir)).subkey(WEBHOOKS).hex())
        sys.exit(0)
    logs.configure(settings.log_level, settings.log_format)
    work_alone(Worker, settings, next_incarnation())
