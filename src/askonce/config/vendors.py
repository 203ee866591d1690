"""Which providers are configured: the vendors' usual variables, then the tables `[providers.NAME]` field by field.

The catalog of vendors stands above this room, so its variables are handed in. The environment wins over the file.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from askonce.config.mistyped import in_words
from askonce.config.settings import ModelPrice, ProviderSettings
from askonce.config.sources import Document, absolute, nearest
from askonce.domain.errors import ConfigError

SCRIPTED = "scripted"  # plays a script; exists only where configured
_EMBEDDED = "local"  # the embedded model's provider, which is made by `local_model`
# What stands before the colon in `openai:gpt-4o`.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
_MAX_CALLS = 100_000  # more is no bound: a process has 400 connections to providers
_MAX_WINDOW = 1_000_000_000  # tokens; beyond, the unit was mistaken
_MAX_DOLLARS = 1_000_000  # per million tokens; beyond, the unit was mistaken
_API_KEY = re.compile(r"[!-~]*")  # printable ASCII without spaces: it travels in a header
_SHOWN_URL = 80  # characters of a wrong address that a message repeats
_SHORT_HOSTS = ("ollama",)  # their variable usually holds a bare host: its own program reads it so


class VendorVariables(Struct, frozen=True):
    """Name a vendor's usual environment variables: the first set one of `key_variables` counts; "" means none.

    `note` is what people have to know before they set them.
    """

    name: str
    key_variables: tuple[str, ...] = ()
    base_url_variable: str = ""
    note: str = ""


class _Price(Struct, frozen=True, forbid_unknown_fields=True):
    input: str | int | float
    output: str | int | float
    cache_read: str | int | float | None = None
    cache_write: str | int | float | None = None


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    """Mirror what `[providers.NAME]` may hold."""

    api_key: str = ""
    api_keys: tuple[str, ...] = ()
    base_url: str = ""
    default_model: str = ""
    models: tuple[str, ...] = ()
    prices: dict[str, _Price] = {}
    script: str = ""
    max_concurrency: int | None = None
    capabilities: tuple[str, ...] = ()
    context_windows: dict[str, int] = {}
    own_machine: bool | None = None


def configured(
    vendors: Sequence[VendorVariables], environ: Mapping[str, str], document: Document
) -> tuple[ProviderSettings, ...]:
    """List the configured providers in the catalog's order, then the file's own. Raises `ConfigError`."""
    tables = {name: _table(name, raw, document) for name, raw in document.table("providers").items()}
    by_name = {vendor.name: vendor for vendor in vendors}
    order = [*by_name, *(name for name in tables if name not in by_name)]
    found = (_provider(by_name.get(name, VendorVariables(name)), environ, tables.get(name), document) for name in order)
    return tuple(provider for provider in found if provider is not None)


def _provider(
    vendor: VendorVariables, environ: Mapping[str, str], table: _Table | None, document: Document
) -> ProviderSettings | None:
    key_variable = next((name for name in vendor.key_variables if environ.get(name, "").strip()), "")
    url_variable = vendor.base_url_variable if environ.get(vendor.base_url_variable, "").strip() else ""
    variables = [name for name in (key_variable, url_variable) if name]
    if table is None and not variables:
        return None
    table = table or _Table()
    origins = [f"environment {name}" for name in variables] + ([document.path] if table != _Table() else [])
    base_url = environ[url_variable] if url_variable else table.base_url
    if document.table("providers").get(vendor.name) is not None:
        _check_table(vendor, table, document)
    place = _place(vendor.name, "api_keys" if table.api_keys else "api_key", key_variable, document)
    keys = [_key(key, place) for key in _keys(environ[key_variable] if key_variable else "", table)]
    first, *more = keys or [""]
    return ProviderSettings(
        name=vendor.name,
        base_url=_url(vendor.name, base_url.strip(), _place(vendor.name, "base_url", url_variable, document)),
        api_key=first,
        more_keys=tuple(more),
        max_concurrency=table.max_concurrency,
        capabilities=tuple(word.strip().lower() for word in table.capabilities),
        default_model=table.default_model,
        context_windows=table.context_windows,
        own_machine=table.own_machine,
        models=table.models,
        prices={
            model: _price(f"{document.path}: [providers.{vendor.name}.prices.{model}]", price)
            for model, price in table.prices.items()
        },
        script=absolute(table.script, document.folder) if table.script else "",
        source=", ".join(origins) or document.path,
    )


def _keys(from_environment: str, table: _Table) -> list[str]:
    """List the keys, each once: the environment's, separated by commas, else the table's."""
    written = from_environment.split(",") if from_environment else [table.api_key, *table.api_keys]
    return list(dict.fromkeys(key.strip() for key in written if key.strip()))


def _check_table(vendor: VendorVariables, table: _Table, document: Document) -> None:
    where = f"{document.path}: [providers.{vendor.name}]"
    if not _NAME.fullmatch(vendor.name):
        raise ConfigError(f"{where}: name it with up to 40 lower-case letters, digits, `.`, `_` and `-`.")
    if vendor.name == _EMBEDDED:
        raise ConfigError(f"{where} is the embedded model; configure it by the setting local_model.")
    in_catalog = bool(vendor.key_variables or vendor.base_url_variable)
    if vendor.name == SCRIPTED and not table.script:
        raise ConfigError(f"{where} needs `script`, the path of what it plays.")
    if vendor.name != SCRIPTED and table.script:
        raise ConfigError(f"{where} has a `script`; only [providers.{SCRIPTED}] plays one.")
    if table.api_key and table.api_keys:
        raise ConfigError(f"{where} has both `api_key` and `api_keys`; write all keys in the second.")
    if table.max_concurrency is not None and not 1 <= table.max_concurrency <= _MAX_CALLS:
        raise ConfigError(f"{where} max_concurrency = {table.max_concurrency}: must be from 1 to {_MAX_CALLS}.")
    for model, tokens in table.context_windows.items():
        if not 1 <= tokens <= _MAX_WINDOW:
            raise ConfigError(f"{where} context_windows {model} = {tokens}: must be tokens from 1 to {_MAX_WINDOW}.")
    if not in_catalog and vendor.name != SCRIPTED and not table.base_url:
        raise ConfigError(f"{where} is not in the catalog; correct the name, or set its `base_url`.")


def _table(name: str, raw: object, document: Document) -> _Table:
    where = f"{document.path}: [providers.{name}]"
    unknown = sorted(raw.keys() - set(_Table.__struct_fields__)) if isinstance(raw, dict) else []
    if unknown:
        hint = nearest(unknown[0], _Table.__struct_fields__)
        raise ConfigError(f"{where} has no setting {unknown[0]}{hint}; correct or remove it.")
    try:
        return msgspec.convert(raw, _Table)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where} {in_words(error)}.") from error


def _place(name: str, field: str, variable: str, document: Document) -> str:
    return f"{variable} ({field} of {name})" if variable else f"{document.path}: [providers.{name}] {field}"


def _key(key: str, place: str) -> str:
    """Refuse what no header can carry; a key is never repeated."""
    if not _API_KEY.fullmatch(key):
        raise ConfigError(
            f"{place} = (hidden): must be a key of printable ASCII characters without spaces and line breaks; "
            "copy it again, alone."
        )
    return key


def _url(name: str, url: str, place: str) -> str:
    """Complete a base URL that lacks its scheme, as OLLAMA_HOST usually does; refuse what is no http address."""
    if not url:
        return ""
    completed = url if "://" in url else "http://" + url
    try:
        parts = urlsplit(completed)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        lonely = "://" not in url and "." not in (parts.hostname or "") and parts.port is None
    except ValueError:
        raise _no_url(url, place) from None
    if "@" in parts.netloc:
        raise ConfigError(
            f"{place} = (hidden): holds credentials before the `@`, which would end up in logs; "
            "take them out, and put the key in its api_key or its own variable."
        )
    if not fine or (lonely and name not in _SHORT_HOSTS) or parts.query or parts.fragment:
        raise _no_url(url, place)
    if any(letter.isspace() or not letter.isprintable() for letter in completed):
        raise _no_url(url, place)
    return completed


def _no_url(url: str, place: str) -> ConfigError:
    shown = "(hidden)" if "@" in url else repr(url[:_SHOWN_URL])
    return ConfigError(f"{place} = {shown}: must be an address such as https://host/v1 or http://127.0.0.1:8000/v1.")


def _price(where: str, price: _Price) -> ModelPrice:
    return ModelPrice(
        input=_amount(where, "input", price.input) or "",
        output=_amount(where, "output", price.output) or "",
        cache_read=_amount(where, "cache_read", price.cache_read),
        cache_write=_amount(where, "cache_write", price.cache_write),
    )


def _amount(where: str, field: str, amount: str | int | float | None) -> str | None:
    if amount is None:
        return None
    try:
        dollars = Decimal(str(amount))
    except InvalidOperation:
        dollars = Decimal(-1)
    if not dollars.is_finite() or not 0 <= dollars <= _MAX_DOLLARS:
        raise ConfigError(f'{where} {field} = {amount!r}: must be dollars per million tokens, such as "2.50".')
    return str(amount)
