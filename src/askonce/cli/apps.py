"""The commands of `askonce`, each imported when it is called: all of them together take half a second."""

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from askonce import __version__

# Command, and its line in the help.
_COMMANDS = {
    "serve": "Run the gateway.",
    "worker": "Bring what happened into the database, apart from `serve`.",
    "ask": "Ask a running server and print the code.",
    "run": "Run a workflow on a running server, and watch its nodes.",
    "executions": "List, show, resume and cancel executions.",
    "jobs": "List, show and cancel jobs; show, pause and resume queues.",
    "simulate": "Say what a log of requests would have cost with Askonce.",
    "stats": "Show what the cache did and saved.",
    "usage": "Report what was asked, spent and saved.",
    "requests": "List requests, and follow them as they come.",
    "logs": "Read the log: filter it, and follow it.",
    "top": "Show what a running server is doing, live.",
    "keys": "Make, list, change, revoke and rotate keys.",
    "tenants": "Make, list and change tenants.",
    "users": "Make, list and change users, and let them log in.",
    "budgets": "Show how the budgets of a key, user or tenant stand.",
    "provider-keys": "Keep providers' keys, encrypted in the database.",
    "audit": "Check, show and export the audit log.",
    "models": "List the models that can be asked, and fetch the embedded one.",
    "config": "Show the settings in force and where they come from.",
    "doctor": "Look for what is wrong.",
}


def new_app(title: str | None = None, group: type[TyperGroup] = TyperGroup) -> typer.Typer:
    """Make a typer application that prints plain help, and leaves errors to `main`."""
    return typer.Typer(
        help=title,
        cls=group,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


class _LazyGroup(TyperGroup):
    """Know all commands, and import the one that is called. Typer keeps the types of what it hands over private."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _COMMANDS:
            return None
        return typer.main.get_command(importlib.import_module(f"askonce.cli.{cmd_name.replace('-', '_')}").app)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


askonce = new_app("A self-hosted LLM gateway: no answer is paid for twice.", _LazyGroup)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@askonce.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Take what stands before the command."""
