"""`askonce provider-keys`: keep providers' keys in the database, encrypted.

A secret is never an argument: those stand in the lists of processes and in the shell's history.
"""

import getpass
import sys
from typing import Annotated

import typer

from askonce.cli.accounts import provider_key_json
from askonce.cli.apps import new_app
from askonce.cli.exits import Misused
from askonce.cli.office import ConfigOption, JsonOption, Office, SetOption, work
from askonce.cli.tables import lay_out, moment, show, show_json
from askonce.domain.accounts import ProviderKey
from askonce.domain.ledger import AuditRow

app = new_app("Keep providers' keys, encrypted in the database. Secrets are read from stdin or asked for.")

SECRET_BYTES = 8192  # twice the longest key
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The stored key's id.")]


@app.command(name="add")
def _add(
    provider: Annotated[str, typer.Argument(help="Provider, such as openai.")],
    name: Annotated[str, typer.Option(help="What people call this key.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006 - typer's way to say: none
) -> None:
    """Keep a key of a provider, beside those that it has."""
    secret = _read_secret(f"Key of {provider}: ")

    async def add(office: Office) -> ProviderKey:
        await office.provider_keys.reveal()  # a secret that does not open what is there must not seal more
        return await office.recorded(
            lambda: office.provider_keys.add(provider, name or provider, secret),
            lambda key: _row(office, "provider_key.added", key),
        )

    _tell([work(add, config, set_)], as_json)


@app.command(name="list")
def _list(
    all_: Annotated[bool, typer.Option("--all", help="Also those that were retired.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
) -> None:
    """List stored keys, masked."""
    found = work(lambda office: office.provider_keys.list(), config, set_)
    _tell([key for key in found if all_ or not key.retired_ms], as_json, whole=True)


@app.command(name="rotate")
def _rotate(
    key_id: IdArgument,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
) -> None:
    """Put another secret in a key's place; the former is destroyed."""
    secret = _read_secret("The new key: ")

    async def rotate(office: Office) -> ProviderKey:
        return await office.recorded(
            lambda: office.provider_keys.rotate(key_id, secret),
            lambda key: _row(office, "provider_key.rotated", key),
        )

    _tell([work(rotate, config, set_)], as_json)


@app.command(name="retire")
def _retire(
    key_id: IdArgument,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
) -> None:
    """Destroy a key; that there was one stays known."""

    async def retire(office: Office) -> ProviderKey:
        return await office.recorded(
            lambda: office.provider_keys.retire(key_id), lambda key: _row(office, "provider_key.retired", key)
        )

    _tell([work(retire, config, set_)], as_json)


@app.command(name="reseal")
def _reseal(config: ConfigOption = None, set_: SetOption = []) -> None:  # noqa: B006
    """Seal all keys with the secret in force; then a former one can be taken out of ASKONCE_SECRET."""

    async def reseal(office: Office) -> int:
        return await office.recorded(
            lambda: office.provider_keys.reseal(),
            lambda number: office.row("provider_key.resealed", "provider keys", {"number": number}),
        )

    print(f"{work(reseal, config, set_)} keys were sealed anew.")


def _read_secret(prompt: str) -> str:
    """Read a secret from a terminal without showing it, else from stdin. Raises `Misused` for none."""
    secret = getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.read(SECRET_BYTES)
    if not secret.strip():
        raise Misused("There is no key; type it, or pipe it in: askonce provider-keys add openai < key-file.")
    return secret


def _row(office: Office, action: str, key: ProviderKey) -> AuditRow:
    return office.row(action, f"provider_key:{key.id}", {"provider": key.provider, "name": key.name, "hint": key.hint})


def _tell(keys: list[ProviderKey], as_json: bool, *, whole: bool = False) -> None:
    if as_json:
        told = [provider_key_json(key) for key in keys]
        show_json(told if whole else told[0])
        return
    head = ("id", "provider", "name", "key", "since", "state")
    show(lay_out(head, map(_line, keys)))


def _line(key: ProviderKey) -> tuple[str, ...]:
    state = f"retired {moment(key.retired_ms)}" if key.retired_ms else "in force"
    return key.id, key.provider, key.name, key.hint, moment(key.created_ms), state
