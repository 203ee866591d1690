"""`askonce worker`: bring what happened into the database, apart from `askonce serve`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from askonce.cli.apps import new_app
from askonce.cli.exits import CommandFailed
from askonce.cli.settings import ConfigOption, SetOption, load_settings, overrides
from askonce.config.paths import worker_path
from askonce.config.secret import WEBHOOKS, find_secret
from askonce.config.settings import Config
from askonce.domain.clock import SystemClock
from askonce.ledger import worker_status
from askonce.supervisor.folder import DataFolder
from askonce.supervisor.logging_out import log_as
from askonce.supervisor.posts import next_incarnation
from askonce.supervisor.preflight import preflight_worker
from askonce.supervisor.working import work_alone
from askonce.wiring.worker import Worker

app = new_app()


@app.command(name="worker")
def _worker(
    data_dir: Annotated[Path | None, typer.Option(help="Folder whose gateways are served.")] = None,
    webhook_key: Annotated[
        bool, typer.Option("--webhook-key", help="Print the key that signs webhooks, and do nothing else.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Say whether a worker of this folder runs (exit code 1: none), and end.")
    ] = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006 - typer's way to say: none
) -> None:
    """Run the worker of one data folder beside `askonce serve`, which needs `ledger_worker = off` then."""
    loaded = load_settings(config, overrides({"data_dir": data_dir}, set_))
    settings = loaded.config
    if check:
        _check(settings)
        return
    DataFolder.prepare(Path(settings.data_dir))
    preflight_worker(settings)
    if webhook_key:
        print(find_secret(settings.secret, Path(settings.data_dir)).subkey(WEBHOOKS).hex())
        sys.exit(0)
    log_as(settings)
    work_alone(Worker, settings, next_incarnation())


def _check(settings: Config) -> None:
    """Say how the worker is, by its last word. Raises `CommandFailed` where none runs; one that waits runs."""
    packed, now_ms = worker_status.read(worker_path(settings.data_dir)), SystemClock().wall_ms()
    problem = worker_status.trouble(packed, now_ms)
    if packed is None or worker_status.is_stale(packed, now_ms):
        raise CommandFailed(problem or "No worker runs.")
    print(problem or "The worker runs.")
