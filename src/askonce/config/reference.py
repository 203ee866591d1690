"""Show settings to people: the reference in docs/settings.md and the values in force. Secrets never leave whole."""

from collections.abc import Iterator

from msgspec import Struct

from askonce.config.load import DEFAULT_ORIGIN
from askonce.config.settings import (
    Config,
    GroupSettings,
    ProviderSettings,
    RateLimit,
    RoutingSettings,
    StaticKey,
)
from askonce.config.table import NOT_YET_REMARKED, OTHER_VARIABLES, SETTINGS, Setting
from askonce.config.values import size_word
from askonce.config.vendors import VendorVariables

_HEAD = """# Settings

Each setting is a key of `askonce.toml` and an environment variable. The command line wins over the environment, the
environment over the file. The file is the one named by `--config` or `ASKONCE_CONFIG`, else `askonce.toml` in the
working folder, else `~/.config/askonce/askonce.toml`. Spans are seconds or `250ms`, `10m`, `1h`, `7d`; sizes are bytes
or `512MB`, `2GiB`; switches are `on` or `off`. A misspelt key or `ASKONCE_…` variable is refused. `askonce config`
shows what is in force and where it comes from; this page is printed by `askonce config --reference`.

| key | environment | type | default | |
| --- | --- | --- | --- | --- |
"""
_PROVIDERS = """
## Providers

A vendor is configured as soon as its usual variable is set, or by a table of the file:

| provider | key | address | |
| --- | --- | --- | --- |
"""
_TABLES = """
```toml
[providers.openai]
api_key = "sk-…"

[providers.workshop]                  # any server that speaks OpenAI's shape
base_url = "http://10.0.0.5:8000/v1"
default_model = "qwen3-coder"
models = ["qwen3-coder"]              # optional: what it lists is used otherwise

[providers.workshop.prices.qwen3-coder]
input = "0.10"                        # dollars per million tokens
output = "0.40"                       # also cache_read, cache_write

[providers.scripted]                  # plays a script instead of asking anybody: see scripted.md
script = "script.toml"

[aliases]
fast = "openai:gpt-4o-mini"
```

Several keys of one provider are written `api_keys = ["sk-…", "sk-…"]`, or with commas in its variable. A conversation
keeps to one of them, for the vendor's prompt cache; where the vendor refuses or slows one, the next is asked.
`max_concurrency = 8` bounds the calls to a provider that are in the air at once, each worker having its share.
`capabilities = ["tools", "vision"]` tells what its models can do besides what is known of them.
`context_windows = { "my-model" = 262144 }` says how many tokens a model reads, where that is not known or has changed.
`own_machine = true` says that a call costs nothing there, so that an abandoned one is hung up; an address on loopback
or in a private network is taken for that, unless it says `false`.

## Routing

```toml
[groups.code]                         # a name for several models: "model": "code"
strategy = "weighted"                 # the default; or "order": the first that can answer does
members = [{ model = "openai:gpt-4o", weight = 3 }, { model = "mistral:codestral-latest", weight = 1 }]

[routing]                             # whom heuristic, cost-aware and orchestrated choose among, if no model is named
models = ["openai:gpt-4o", "groq:openai/gpt-oss-120b"]   # without it: the default model of each configured provider

[routing.orchestrated]                # who does what kind of work; a name, or a priority, or models in order
plan = "openai:gpt-4o"
docs = { priority = "cost" }
```

A group or an alias can be the default model. At most four members of a group are candidates of one question. A group's
choice holds for a conversation, not for one request. Prices, windows and abilities of models come from the price table
and their names; docs/design.md has the formula.

## Other variables

"""


class Shown(Struct, frozen=True):
    """Hold one line of what is in force, ready to be shown."""

    key: str
    value: str
    origin: str
    sentence: str = ""


def reference(vendors: tuple[VendorVariables, ...]) -> str:
    """Write docs/settings.md: Markdown, ending in a newline."""
    return "".join(_reference(vendors))


def in_force(config: Config) -> tuple[Shown, ...]:
    """List every setting's value and origin, providers and aliases included, secrets masked."""
    origins, file = config.origins, config.file
    plain = [
        Shown(row.key, _value(row, config), origins.get(row.key, DEFAULT_ORIGIN), row.sentence) for row in SETTINGS
    ]
    providers = [Shown(f"providers.{one.name}", _provider(one), one.source) for one in config.providers]
    aliases = [Shown(f"aliases.{name}", model, file) for name, model in config.aliases.items()]
    groups = [Shown(f"groups.{name}", _group(group), file) for name, group in config.groups.items()]
    return (*plain, *providers, *aliases, *groups, *_routing(config.routing, file))


def masked(secret: str) -> str:
    """Leave just enough of a secret to recognise it."""
    return f"{secret[:3]}…{secret[-2:]}" if len(secret) >= 16 else "…"  # of a short one it would tell too much


def _provider(one: ProviderSettings) -> str:
    keys = ", ".join(f"key {masked(key)}" for key in one.keys if key) or "no key"
    most = "" if one.max_concurrency is None else f"at most {one.max_concurrency} calls"
    return " ".join(part for part in (one.base_url, keys, most) if part)


def _group(group: GroupSettings) -> str:
    members = (f"{one.model} × {one.weight:g}" if group.strategy == "weighted" else one.model for one in group.members)
    return f"{group.strategy}: {', '.join(members)}"


def _routing(routing: RoutingSettings, file: str) -> Iterator[Shown]:
    if routing.models:
        yield Shown("routing.models", ", ".join(routing.models), file)
    for work, row in routing.orchestrated.items():
        yield Shown(f"routing.orchestrated.{work}", ", ".join(row.models) or f"by {row.priority}", file)


def _reference(vendors: tuple[VendorVariables, ...]) -> Iterator[str]:
    yield _HEAD
    for row in SETTINGS:
        default = row.shown_default or f"`{_value(row, Config())}`"
        yield f"| `{row.key}` | `{row.env}` | {row.kind} | {default} | {row.sentence} |\n"
    yield _PROVIDERS
    for vendor in vendors:
        keys = ", ".join(f"`{name}`" for name in vendor.key_variables)
        address = f"`{vendor.base_url_variable}`" if vendor.base_url_variable else ""
        yield f"| {vendor.name} | {keys} | {address} | {vendor.note} |\n"
    yield _TABLES
    for name, sentence in OTHER_VARIABLES.items():
        yield f"- `{name}`: {sentence}\n"
    yield f"- {_names(NOT_YET_REMARKED)}: for a later version; remarked on in the log and not used.\n"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _value(row: Setting, config: Config) -> str:
    value: object = config
    for part in row.field.split("."):
        value = getattr(value, part)
    if row.key == "keys":
        return ", ".join(map(_key, config.keys)) or "none"
    if row.secret:
        return masked(str(value)) if value else "none"
    return _word(row.kind, value)


def _key(key: StaticKey) -> str:
    name = "" if key.tenant == key.name else f" ({key.name})"
    return f"{key.tenant}:{masked(key.secret)}{name}"


def _word(kind: str, value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value) or "none"
    if kind == "rate":
        return f"{value.requests}/{value.span_s}s" if isinstance(value, RateLimit) else "off"
    if kind == "span" and isinstance(value, int | float):
        return f"{value:g}s"
    if kind == "age":
        return f"{value}d" if value else "forever"
    if kind == "size" and isinstance(value, int):
        return size_word(value)
    return str(value)
