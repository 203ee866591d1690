"""Keys: made, listed, changed, revoked and rotated, each only by who may give what it may do."""

from typing import Any

from msgspec import UNSET, Struct

from askonce.api.admin.accounts import KeyBody, KeyList, KeyPatch, bounds_of, end_of, key_view, new_key, rotated_key
from askonce.api.admin.office import Clerk, Office
from askonce.api.errands import Errand, Handler
from askonce.domain.accounts import DEFAULT_TENANT, KeyChange, KeyWish
from askonce.domain.caller import Caller
from askonce.domain.identity import KeyCard
from askonce.gate.scopes import require_grantable, visible_tenant


def key_handlers(clerk: Clerk) -> dict[str, Handler]:
    """Return the handlers by their doors' names."""

    async def listed(errand: Errand) -> Struct:
        office = await clerk.offices.open()
        tenant = visible_tenant(errand.caller.scopes, errand.caller.tenant, errand.query.tenant)
        page = await office.keys.list(tenant, errand.query.after, errand.query.limit)
        return KeyList(tuple(key_view(card, clerk.clock.wall_ms()) for card in page.items), page.after or None)

    async def create(errand: Errand) -> Struct:
        body: KeyBody = errand.body
        wish = _wish(errand.caller, body, clerk.clock.wall_ms())
        require_grantable(errand.caller.scopes, wish.scopes)
        issued = await (await clerk.offices.open()).keys.create(wish)
        await clerk.note(errand, "key.created", f"key:{issued.card.id}", **_told(issued.card))
        return new_key(issued)

    async def look(errand: Errand) -> Struct:
        return key_view(await _key(await clerk.offices.open(), errand), clerk.clock.wall_ms())

    async def change(errand: Errand) -> Struct:
        office = await clerk.offices.open()
        card = await _manageable(office, errand)
        change = _change(errand.body, card)
        if change.scopes is not UNSET:
            require_grantable(errand.caller.scopes, change.scopes)
        changed = await office.keys.update(card.id, change, card.tenant)
        fields = [name for name in change.__struct_fields__ if getattr(change, name) is not UNSET]
        await clerk.note(errand, "key.changed", f"key:{card.id}", changed=fields, **_told(changed))
        return key_view(changed, clerk.clock.wall_ms())

    async def revoke(errand: Errand) -> Struct:
        office = await clerk.offices.open()
        card = await _manageable(office, errand)
        revoked = await office.keys.revoke(card.id, card.tenant)
        await clerk.note(errand, "key.revoked", f"key:{card.id}", **_told(revoked))
        return key_view(revoked, clerk.clock.wall_ms())

    async def rotate(errand: Errand) -> Struct:
        office = await clerk.offices.open()
        card = await _manageable(office, errand)
        rotated = await office.keys.rotate(card.id, errand.body.grace_seconds * 1000, card.tenant)
        new = rotated.issued.card
        await clerk.note(
            errand,
            "key.rotated",
            f"key:{card.id}",
            successor=new.id,
            ends=rotated.former.expires_ms,
            tenant=card.tenant,
        )
        return rotated_key(rotated)

    return {
        "admin_keys": listed,
        "create_key": clerk.changing(create),
        "admin_key": look,
        "change_key": clerk.changing(change),
        "revoke_key": clerk.changing(revoke),
        "rotate_key": clerk.changing(rotate),
    }


async def _key(office: Office, errand: Errand) -> KeyCard:
    """Return the key in the path. Raises `NotFound`, also for another tenant's."""
    return await office.keys.get(errand.key, visible_tenant(errand.caller.scopes, errand.caller.tenant, ""))


async def _manageable(office: Office, errand: Errand) -> KeyCard:
    """Return it if the caller could have made it: who may not give a scope may not take over a key that has it."""
    card = await _key(office, errand)
    require_grantable(errand.caller.scopes, card.scopes)
    return card


def _wish(caller: Caller, body: KeyBody, now_ms: int) -> KeyWish:
    tenant = visible_tenant(caller.scopes, caller.tenant, body.tenant) or DEFAULT_TENANT
    plain = ("name", "user_id", "scopes", "models", "providers", "addresses")
    fields: dict[str, Any] = {name: getattr(body, name) for name in plain}
    bounds = bounds_of(body.budgets, body.concurrency)
    return KeyWish(**fields, tenant=tenant, bounds=bounds, expires_ms=end_of(body.expires_at, body.expires_in, now_ms))


def _change(body: KeyPatch, card: KeyCard) -> KeyChange:
    bounded = body.budgets is not UNSET or body.concurrency is not UNSET
    return KeyChange(
        name=body.name,
        scopes=body.scopes,
        models=body.models,
        providers=body.providers,
        addresses=body.addresses,
        bounds=bounds_of(body.budgets, body.concurrency, card.bounds) if bounded else UNSET,
        expires_ms=body.expires_at,
    )


def _told(card: KeyCard) -> dict[str, Any]:
    """Return what the audit is told of a key."""
    view = key_view(card, card.created_ms)
    return {
        "name": card.name,
        "tenant": card.tenant,
        "scopes": card.scopes,
        "budgets": view.budgets,
        "concurrency": view.concurrency,
        "expires": card.expires_ms,
    }
