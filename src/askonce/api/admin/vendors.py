"""Providers' keys in the encrypted store: entered, recognised by a hint, replaced, destroyed; never shown."""

from typing import Annotated

from msgspec import Meta, Struct

from askonce.api.admin.office import Clerk
from askonce.api.bodies import Body
from askonce.api.errands import Errand, Handler
from askonce.domain.accounts import ProviderKey

_Word = Annotated[str, Meta(max_length=200)]
_Secret = Annotated[str, Meta(max_length=5000, description="the vendor's key; it is never shown again")]


class ProviderKeyBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Hold a key of a provider that is to be kept."""

    provider: _Word
    secret: _Secret
    name: _Word = "key"

    def __repr__(self) -> str:
        return f"ProviderKeyBody({self.provider!r})"


class SecretBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Hold what comes in a key's place."""

    secret: _Secret

    def __repr__(self) -> str:
        return "SecretBody()"


class ProviderKeyView(Body, frozen=True):
    """Describe a kept key by enough of it to recognise it."""

    id: str
    provider: str
    name: str
    hint: str
    created_at: int
    retired_at: int


class ProviderKeyList(Body, frozen=True):
    """List kept keys, newest first."""

    keys: tuple[ProviderKeyView, ...]


def provider_key_handlers(clerk: Clerk) -> dict[str, Handler]:
    """Return the handlers by their doors' names."""

    async def listed(errand: Errand) -> Struct:
        return ProviderKeyList(tuple(map(_view, await (await clerk.offices.open()).provider_keys.list())))

    async def add(errand: Errand) -> Struct:
        body: ProviderKeyBody = errand.body
        key = await (await clerk.offices.open()).provider_keys.add(body.provider, body.name, body.secret)
        await _note(errand, "provider_key.added", key)
        return _view(key)

    async def rotate(errand: Errand) -> Struct:
        key = await (await clerk.offices.open()).provider_keys.rotate(errand.key, errand.body.secret)
        await _note(errand, "provider_key.rotated", key)
        return _view(key)

    async def retire(errand: Errand) -> Struct:
        key = await (await clerk.offices.open()).provider_keys.retire(errand.key)
        await _note(errand, "provider_key.retired", key)
        return _view(key)

    async def _note(errand: Errand, action: str, key: ProviderKey) -> None:
        told = {"provider": key.provider, "name": key.name, "hint": key.hint}
        await clerk.note(errand, action, f"provider_key:{key.id}", **told)

    return {
        "provider_keys": listed,
        "add_provider_key": clerk.changing(add),
        "rotate_provider_key": clerk.changing(rotate),
        "retire_provider_key": clerk.changing(retire),
    }


def _view(key: ProviderKey) -> ProviderKeyView:
    return ProviderKeyView(key.id, key.provider, key.name, key.hint, key.created_ms, key.retired_ms)
