"""A store of executions over each database, and submissions for it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from msgspec import Raw
from tests.ledger.ledgerworld import Place

from askonce.domain.executions import Execution, NewEvent, NodeRun, Room, Submission, Submitter
from askonce.ledger.engine import Bounds, open_beside
from askonce.ledger.executions.store import SqlExecutions
from askonce.ledger.executions.tables import FILE, WORKFLOWS
from askonce.ledger.migrate import LATEST, migrate

NOW = 1_700_000_000_000
ANY = (Room("workflows", 100), Room("generation", 100), Room("batch", 100))
_T = TypeVar("_T")


class StillClock:
    """Always say the same."""

    def wall_ms(self) -> int:
        return NOW

    def steady_ns(self) -> int:
        return NOW * 1_000_000


def submission(id: str = "one", **changes: Any) -> Submission:
    tenant = changes.pop("tenant", "acme")
    given: dict[str, Any] = {
        "id": id,
        "kind": "workflow",
        "queue": "workflows",
        "name": "custom",
        "work": Raw(b'{"graph":{"nodes":[]}}'),
        "submitter": Submitter(f"key:{tenant}", tenant),
        "created_ms": NOW,
    }
    return Submission(**{**given, **changes})


def told(status: str = "running") -> NewEvent:
    return NewEvent("node", Raw(b'{"status":"%s"}' % status.encode()))


def node(name: str, status: Any = "succeeded", **changes: Any) -> NodeRun:
    return NodeRun("one", name, status=status, attempts=1, **changes)


def play(place: Place, act: Callable[[SqlExecutions], Coroutine[Any, Any, _T]]) -> _T:
    """Do something with an empty store."""

    async def whole() -> _T:
        engine = open_beside(place.url, place.folder, FILE, Bounds())
        try:
            await migrate(engine, LATEST, WORKFLOWS)
            return await act(SqlExecutions(engine, StillClock()))
        finally:
            await engine.dispose()

    return asyncio.run(whole())


async def begun(store: SqlExecutions, id: str = "one", **changes: Any) -> Execution:
    """Submit one, and have worker `w` begin it."""
    await store.submit([submission(id, **changes)])
    await store.claim(ANY, "w", NOW)
    execution = await store.begin(id, 1, NOW)
    assert execution is not None
    return execution
