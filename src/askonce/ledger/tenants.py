"""Tenants in the database, and put in force in shared state."""

from msgspec.structs import replace
from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from askonce.domain.accounts import Listing, Tenant
from askonce.domain.clock import Clock
from askonce.domain.errors import Detail
from askonce.domain.identity import Bounds, Directory, Holder
from askonce.ledger.engine import reading, writing
from askonce.ledger.identity_tables import IDENTITY, bounds_of, missing, next_number, page_of, tenants, text_of
from askonce.ledger.keys import PAGE_MAX, announce
from askonce.ledger.wishes import refuse, wrong_bounds, wrong_name, wrong_tenant

NO_BOUNDS = Bounds()


class SqlTenants:
    """Keep tenants."""

    def __init__(self, engine: AsyncEngine, directory: Directory, clock: Clock) -> None:
        self._engine = engine
        self._directory = directory
        self._clock = clock

    async def create(self, tenant_id: str, name: str = "", bounds: Bounds = NO_BOUNDS) -> Tenant:
        """Make a tenant; without a name it is called as its id."""
        refuse(wrong_tenant(tenant_id))
        tenant = Tenant(tenant_id, name or tenant_id, bounds, self._clock.wall_ms())
        _check(tenant)
        async with writing(self._engine) as connection:
            edition = await next_number(connection, IDENTITY)
            if await _find(connection, tenant_id) is not None:
                refuse(iter([Detail("tenant", f"there is a tenant {tenant_id!r} already")]))
            await connection.execute(
                insert(tenants).values(
                    id=tenant.id,
                    name=tenant.name,
                    bounds=text_of(bounds),
                    created_ms=tenant.created_ms,
                    disabled_ms=0,
                    version=edition.number,
                )
            )
        await announce(self._engine, self._directory, edition.source, _holder(tenant, edition.number))
        return tenant

    async def get(self, tenant_id: str) -> Tenant:
        """Return a tenant."""
        async with reading(self._engine) as connection:
            row = await _find(connection, tenant_id)
        if row is None:
            raise missing("tenant", tenant_id)
        return _tenant(row)

    async def list(self, after: str = "", size: int = 100) -> Listing[Tenant]:
        """Return a page of tenants, newest first."""
        async with reading(self._engine) as connection:
            rows, following = await page_of(connection, tenants, [], after, min(size, PAGE_MAX))
        return Listing(tuple(_tenant(row) for row in rows), following)

    async def update(self, tenant: Tenant) -> Tenant:
        """Give a tenant this name, these bounds, this state; disabled, none of its keys is in force."""
        _check(tenant)
        async with writing(self._engine) as connection:
            edition = await next_number(connection, IDENTITY)
            row = await _find(connection, tenant.id)
            if row is None:
                raise missing("tenant", tenant.id)
            tenant = replace(tenant, created_ms=row["created_ms"])
            await connection.execute(
                update(tenants)
                .where(tenants.c.id == tenant.id)
                .values(
                    name=tenant.name,
                    bounds=text_of(tenant.bounds),
                    disabled_ms=tenant.disabled_ms,
                    version=edition.number,
                )
            )
        await announce(self._engine, self._directory, edition.source, _holder(tenant, edition.number))
        return tenant


def _check(tenant: Tenant) -> None:
    refuse(wrong_name("name", tenant.name))
    refuse(wrong_bounds(tenant.bounds))


async def _find(connection: AsyncConnection, tenant_id: str) -> RowMapping | None:
    return (await connection.execute(select(tenants).where(tenants.c.id == tenant_id))).mappings().first()


def _holder(tenant: Tenant, version: int) -> Holder:
    return Holder(f"tenant:{tenant.id}", tenant.bounds, tenant.disabled_ms, version)


def _tenant(row: RowMapping) -> Tenant:
    return Tenant(row["id"], row["name"], bounds_of(row), row["created_ms"], row["disabled_ms"])
