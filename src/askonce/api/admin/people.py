"""Tenants and users: those who share, and those who log in."""

from typing import Any

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from askonce.api.admin.accounts import (
    LinkView,
    TenantList,
    TenantPatch,
    UserBody,
    UserList,
    UserPatch,
    bounds_of,
    tenant_view,
    user_view,
)
from askonce.api.admin.office import Clerk, Office
from askonce.api.errands import Errand, Handler
from askonce.domain.accounts import DEFAULT_TENANT, Tenant, User
from askonce.gate.scopes import require_grantable, visible_tenant


def tenant_handlers(clerk: Clerk) -> dict[str, Handler]:
    """Return the handlers by their doors' names. Making and changing tenants is root's alone, by the doors' rows."""

    async def listed(errand: Errand) -> Struct:
        office = await clerk.offices.open()
        own = visible_tenant(errand.caller.scopes, errand.caller.tenant, errand.query.tenant)
        if own:
            return TenantList((tenant_view(await office.tenants.get(own)),), None)
        page = await office.tenants.list(errand.query.after, errand.query.limit)
        return TenantList(tuple(map(tenant_view, page.items)), page.after or None)

    async def create(errand: Errand) -> Struct:
        office, body = await clerk.offices.open(), errand.body
        bounds = bounds_of(body.budgets, body.concurrency)
        tenant = await office.tenants.create(body.id, body.name, bounds)
        await clerk.note(errand, "tenant.created", f"tenant:{tenant.id}", **_bounds(tenant_view(tenant)))
        return tenant_view(tenant)

    async def look(errand: Errand) -> Struct:
        visible_tenant(errand.caller.scopes, errand.caller.tenant, errand.key)
        return tenant_view(await (await clerk.offices.open()).tenants.get(errand.key))

    async def change(errand: Errand) -> Struct:
        office, body = await clerk.offices.open(), errand.body
        former = await office.tenants.get(errand.key)
        tenant = await office.tenants.update(_changed_tenant(former, body, clerk.clock.wall_ms()))
        await clerk.note(errand, "tenant.changed", f"tenant:{tenant.id}", **_told(body, tenant_view(tenant)))
        return tenant_view(tenant)

    return {
        "admin_tenants": listed,
        "create_tenant": clerk.changing(create),
        "admin_tenant": look,
        "change_tenant": clerk.changing(change),
    }


def user_handlers(clerk: Clerk) -> dict[str, Handler]:
    """Return the handlers by their doors' names."""

    async def listed(errand: Errand) -> Struct:
        office = await clerk.offices.open()
        tenant = visible_tenant(errand.caller.scopes, errand.caller.tenant, errand.query.tenant)
        page = await office.users.list(tenant, errand.query.after, errand.query.limit)
        return UserList(tuple(map(user_view, page.items)), page.after or None)

    async def create(errand: Errand) -> Struct:
        body: UserBody = errand.body
        require_grantable(errand.caller.scopes, body.scopes)
        tenant = visible_tenant(errand.caller.scopes, errand.caller.tenant, body.tenant) or DEFAULT_TENANT
        bounds = bounds_of(body.budgets, body.concurrency)
        wish = User("", tenant, body.email, body.name, body.scopes, bounds)
        user = await (await clerk.offices.open()).users.create(wish)
        told = {"scopes": user.scopes, "tenant": user.tenant} | _bounds(user_view(user))
        await clerk.note(errand, "user.created", f"user:{user.id}", **told)
        return user_view(user)

    async def look(errand: Errand) -> Struct:
        return user_view(await _user(await clerk.offices.open(), errand))

    async def change(errand: Errand) -> Struct:
        office, body = await clerk.offices.open(), errand.body
        former = await _manageable(office, errand)
        if body.scopes is not UNSET:
            require_grantable(errand.caller.scopes, body.scopes)
        user = await office.users.update(_changed_user(former, body, clerk.clock.wall_ms()))
        told = {"scopes": user.scopes, "tenant": user.tenant} | _told(body, user_view(user))
        await clerk.note(errand, "user.changed", f"user:{user.id}", **told)
        return user_view(user)

    async def link(errand: Errand) -> Struct:
        office = await clerk.offices.open()
        user = await _manageable(office, errand)
        expires_ms = clerk.clock.wall_ms() + errand.body.expires_in * 1000
        word = await office.links.issue(user.id, expires_ms)
        await clerk.note(errand, "link.issued", f"user:{user.id}", expires=expires_ms, tenant=user.tenant)
        return LinkView(f"{_origin(errand)}/login?word={word}", word, expires_ms)

    return {
        "admin_users": listed,
        "create_user": clerk.changing(create),
        "admin_user": look,
        "change_user": clerk.changing(change),
        "issue_link": clerk.changing(link),
    }


async def _user(office: Office, errand: Errand) -> User:
    """Return the user in the path. Raises `NotFound`, also for another tenant's."""
    return await office.users.get(errand.key, visible_tenant(errand.caller.scopes, errand.caller.tenant, ""))


async def _manageable(office: Office, errand: Errand) -> User:
    """Return them if the caller could have made them: a link for who may more would be a way to become them."""
    user = await _user(office, errand)
    require_grantable(errand.caller.scopes, user.scopes)
    return user


def _changed_tenant(former: Tenant, body: TenantPatch, now_ms: int) -> Tenant:
    return replace(
        former,
        name=former.name if body.name is UNSET else body.name,
        bounds=bounds_of(body.budgets, body.concurrency, former.bounds),
        disabled_ms=_disabled(former.disabled_ms, body.disabled, now_ms),
    )


def _changed_user(former: User, body: UserPatch, now_ms: int) -> User:
    return replace(
        former,
        name=former.name if body.name is UNSET else body.name,
        scopes=former.scopes if body.scopes is UNSET else body.scopes,
        bounds=bounds_of(body.budgets, body.concurrency, former.bounds),
        disabled_ms=_disabled(former.disabled_ms, body.disabled, now_ms),
    )


def _disabled(former_ms: int, wanted: bool | UnsetType, now_ms: int) -> int:
    if wanted is UNSET:
        return former_ms
    return (former_ms or now_ms) if wanted else 0


def _told(body: Struct, view: Any) -> dict[str, Any]:
    """Return what the audit is told of a change."""
    changed = [name for name in body.__struct_fields__ if getattr(body, name) is not UNSET]
    return {"changed": changed, "disabled": bool(view.disabled_at)} | _bounds(view)


def _bounds(view: Any) -> dict[str, Any]:
    return {"budgets": view.budgets, "concurrency": view.concurrency}


def _origin(errand: Errand) -> str:
    """Name this server as its caller does."""
    host = errand.request.text(b"host") or "127.0.0.1"
    return f"{'https' if errand.secure else 'http'}://{host}"
