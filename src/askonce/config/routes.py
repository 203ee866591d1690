"""Who answers to which name: the tables `[aliases]`, `[groups.NAME]` and `[routing]` of askonce.toml."""

import re
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from askonce.config.settings import GroupMember, GroupSettings, PreferenceSettings, RoutingSettings
from askonce.config.sources import Document, nearest
from askonce.domain.errors import ConfigError

T = TypeVar("T", bound=Struct)

# A name that no `PROVIDER:MODEL` can be mistaken for.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,79}")
MAX_MEMBERS = 32  # of a group; four of them are candidates of one question


class _Member(Struct, frozen=True, forbid_unknown_fields=True):
    model: str
    weight: float = 1.0


class _Group(Struct, frozen=True, forbid_unknown_fields=True):
    members: tuple[str | _Member, ...]
    strategy: Literal["weighted", "order"] = "weighted"


class _Preference(Struct, frozen=True, forbid_unknown_fields=True):
    priority: Literal["quality", "speed", "cost"] | None = None
    models: tuple[str, ...] = ()


class _Routing(Struct, frozen=True, forbid_unknown_fields=True):
    models: tuple[str, ...] = ()
    orchestrated: dict[str, str | _Preference] = {}


def aliases(document: Document) -> dict[str, str]:
    """Read `[aliases]`. Raises `ConfigError`."""
    found = {}
    for name, model in document.table("aliases").items():
        if not isinstance(model, str) or not model.strip() or model.strip() == name:
            raise ConfigError(f"{document.path}: [aliases] {name} = {model!r}: must be another model's name in quotes.")
        found[name] = model.strip()
    return found


def groups(document: Document) -> dict[str, GroupSettings]:
    """Read every `[groups.NAME]`. Raises `ConfigError`."""
    found = {name: _group(name, raw, document) for name, raw in document.table("groups").items()}
    for name, group in found.items():
        where = f"{document.path}: [groups.{name}]"
        if name in document.table("aliases"):
            raise ConfigError(f"{where}: there is an alias of that name too; rename one of them.")
        inner = next((member.model for member in group.members if member.model in found), None)
        if inner is not None:
            raise ConfigError(f"{where}: its member {inner!r} is a group itself; write that one's members instead.")
    return found


def routing(document: Document) -> RoutingSettings:
    """Read `[routing]`. Raises `ConfigError`."""
    table = _convert(f"{document.path}: [routing]", document.table("routing"), _Routing)
    return RoutingSettings(
        models=_names(f"{document.path}: [routing] models", table.models),
        orchestrated={
            work: _preference(f"{document.path}: [routing.orchestrated] {work}", row)
            for work, row in table.orchestrated.items()
        },
    )


def _preference(where: str, row: str | _Preference) -> PreferenceSettings:
    if isinstance(row, str):
        return PreferenceSettings(models=_names(where, (row,)))
    if row.priority is None and not row.models:
        raise ConfigError(f"{where}: give it `models`, or a `priority` (quality, speed or cost).")
    return PreferenceSettings(row.priority, _names(where, row.models))


def _group(name: str, raw: object, document: Document) -> GroupSettings:
    where = f"{document.path}: [groups.{name}]"
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: name it with up to 80 letters, digits, `.`, `_`, `/` and `-`.")
    group = _convert(where, raw, _Group)
    members = tuple(
        GroupMember(one.strip()) if isinstance(one, str) else GroupMember(one.model.strip(), one.weight)
        for one in group.members
    )
    if not 1 <= len(members) <= MAX_MEMBERS or not all(one.model for one in members):
        raise ConfigError(f"{where}: `members` must be 1 to {MAX_MEMBERS} names of models.")
    if len({one.model for one in members}) != len(members):
        raise ConfigError(f"{where}: a member stands there twice; remove it, or give it a weight.")
    if not all(0 < one.weight <= 1_000_000 for one in members):
        raise ConfigError(f"{where}: a weight must be above 0 and at most 1000000; remove a member instead of 0.")
    return GroupSettings(members, group.strategy)


def _names(where: str, names: tuple[str, ...]) -> tuple[str, ...]:
    stripped = tuple(name.strip() for name in names)
    if not all(stripped):
        raise ConfigError(f"{where}: the name of a model is empty; correct or remove it.")
    return stripped


def _convert(where: str, raw: object, kind: type[T]) -> T:
    unknown = sorted(raw.keys() - set(kind.__struct_fields__)) if isinstance(raw, dict) else []
    if unknown:
        hint = nearest(unknown[0], kind.__struct_fields__)
        raise ConfigError(f"{where} has no setting {unknown[0]}{hint}; correct or remove it.")
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}.") from error
