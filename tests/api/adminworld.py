"""A gateway with keys, people, sessions and a database: who asks is one of a table of roles, in one of two tenants."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.api.conftest import Client, Response, World

from askonce.api.admin.desks import admin_handlers
from askonce.api.admin.office import AuditQuestion, Clerk, Office
from askonce.api.admin.performance import Performance, performance_handlers
from askonce.api.admin.screens import Screens
from askonce.api.admin.settings import settings_handlers
from askonce.api.admin.watching import watching_handlers
from askonce.api.app import App
from askonce.api.login import login_handlers
from askonce.api.oidc import Foyer, Provider, oidc_handlers
from askonce.api.sessions import SessionDoors
from askonce.config.secret import KEY_HASHES, Secret
from askonce.config.settings import Config
from askonce.domain.accounts import KeyWish, User
from askonce.domain.admittance import Rule
from askonce.domain.credentials import token_digest
from askonce.domain.identity import Scope
from askonce.domain.ledger import AuditRow, LedgerUnavailable
from askonce.gate.admission import STATIC_SCOPES, Registry
from askonce.gate.keyholders import Keyholders
from askonce.gate.logins import Logins
from askonce.ledger.engine import open_engine
from askonce.ledger.key_feed import SqlFeed, refresh
from askonce.ledger.migrate import migrate
from askonce.state.anchors import MemoryAnchors
from askonce.state.memory_identity import MemoryDirectory, MemorySessions
from askonce.wiring.administration import Administration, Premises

SECRET = Secret(b"s" * 32)
ROLES: dict[str, tuple[Scope, ...]] = {
    "use": ("use",),
    "report": ("report",),
    "admin": ("admin",),
    "root": ("root",),
}
TENANTS = ("acme", "beta")


class Offices:
    """Open the real office, unless it is away."""

    def __init__(self, administration: Administration) -> None:
        self._administration = administration
        self.away = False

    async def open(self) -> Office:
        """Return it, or be away."""
        if self.away:
            raise LedgerUnavailable("The database is away: it was unplugged.")
        return await self._administration.open()


class AdminWorld(World):
    """Add a database, a directory, sessions, and a key of each role in each tenant (`self.key[tenant, role]`)."""

    def __init__(self, folder: Path, url: str = "") -> None:
        super().__init__()
        self.folder, self.url = folder, url
        self.directory = MemoryDirectory()
        self.sessions = MemorySessions()
        self.anchors = MemoryAnchors()
        self.key: dict[tuple[str, str], str] = {}
        self.ids: dict[tuple[str, str], str] = {}
        self.users: dict[tuple[str, str], str] = {}
        self.provider_of_identity: Provider | None = None
        self.rules: tuple[Rule, ...] = ()
        self.patience_s = 0.05  # so long a stream of what happens lasts
        self.limits = {name: rule for name, rule in self.limits.items() if name == "llm"}

    def build(self) -> App:
        """Build the world with what knows keys and sessions; configured keys are taken as they are now."""
        static = {token_digest(secret): STATIC_SCOPES for secret, _ in self.keys}
        self.logins = Logins(self.sessions, self.directory, self.clock, static)
        self.registry = Registry(Keyholders(self.directory, SECRET.subkeys(KEY_HASHES), self.clock), self.logins)
        return super().build()

    def settle(self) -> None:
        """Add the doors that log in and administer."""
        premises = Premises(self.url, str(self.folder), lambda: SECRET, self.directory, self.anchors, self.clock)
        self.administration = Administration(premises)
        self.offices = Offices(self.administration)
        clerk = Clerk(self.offices, self.trail, self.state.budgets, self.clock)
        doors = SessionDoors(self.logins, self.admission, self.offices, self.trail)
        foyer = Foyer(self.provider_of_identity, b"k" * 32, self.rules, self.offices, doors, self.clock)
        login = login_handlers("https://id.example") | oidc_handlers(foyer)
        self.more = doors.handlers() | login | admin_handlers(clerk) | performance_handlers(self._perform)
        self.screens = Screens(self.defect, look_s=0.01, life_s=self.patience_s)
        self.more |= watching_handlers(clerk, self.screens)
        self.more |= settings_handlers(Config(sentry_dsn="https://a-secret@example.org/1", origins={"port": "here"}))

    def _perform(self, minutes: int) -> Performance:
        return Performance(0, 60_000 * minutes, [], [], [], [])

    async def furnish(self) -> None:
        """Make the tables, both tenants, and each role's key and user in both."""
        engine = open_engine(self.url, self.folder)
        try:
            await migrate(engine)
            await refresh(SqlFeed(engine, self.clock), self.directory)
            office = await self.administration.open()
            for tenant in TENANTS:
                await office.tenants.create(tenant)
                for role, scopes in ROLES.items():
                    issued = await office.keys.create(KeyWish(role, tenant, scopes=scopes))
                    user = await office.users.create(User("", tenant, f"{role}@{tenant}.example", role, scopes))
                    self.key[tenant, role], self.ids[tenant, role] = issued.key, issued.card.id
                    self.users[tenant, role] = user.id
        finally:
            await engine.dispose()
        self.admission.note_keys(await self.directory.has_keys())

    def tell(self, story: Callable[["Caller"], Coroutine[Any, Any, None]]) -> None:
        """Run a story in a furnished world."""

        async def told() -> None:
            client = Client(self.build())
            await self.furnish()
            try:
                await story(Caller(client, self))
            finally:
                await self.hub.close()
                await self.screens.close()
                await self.administration.close()

        asyncio.run(told())

    async def audited(self) -> list[AuditRow]:
        """Return what the audit was told so far: what was sealed with a change, then what is on its way."""
        await self.trail.flush()
        office = await self.administration.open()
        sealed = [entry.row for entry in (await office.audit.page(AuditQuestion(size=500))).items]
        batch = await self.state.outbox.head(10_000)
        waiting = [row for row in batch.records if isinstance(row, AuditRow)] if batch is not None else []
        return [*reversed(sealed), *waiting]


class Caller:
    """Ask as one of the roles."""

    def __init__(self, client: Client, world: AdminWorld) -> None:
        self.client = client
        self.world = world

    async def ask(self, who: str, method: str, path: str, body: object = None, **headers: str) -> Response:
        """Ask as `tenant/role`, or as nobody where that is ""."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if who:
            tenant, _, role = who.partition("/")
            sent["authorization"] = f"Bearer {self.world.key[tenant, role]}"
        if body is None:
            sent["content-type"] = ""
            return await self.client.ask(method, path, headers=sent)
        if method == "POST":
            return await self.client.post(body, path, headers=sent)
        return await self.client.ask(method, path, body=json.dumps(body).encode(), headers=sent)
