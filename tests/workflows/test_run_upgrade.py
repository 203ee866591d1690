"""A run that one version of the application began is gone on with by another.

The rules: it is begun as its next taking-up, under a name of its own in the engine; nodes that had ended are taken from
our own rows; what was paid is not paid again. Back to the version that began it works the same way.
"""

import asyncio
from collections.abc import Callable, Iterator

import msgspec
import pytest
from sqlalchemy import text
from tests.ledger.ledgerworld import Place
from tests.workflows.engineworld import DAY_MS, parts
from tests.workflows.workflow_world import Life, Paid, WorkflowWorld, asked_of, echo, node, workflow

from askonce.domain.executions import QUEUES, Execution, NodeRun
from askonce.ledger.address import SqliteFile, parse
from askonce.ledger.engine import Bounds, open_beside
from askonce.ledger.executions.store import SqlExecutions
from askonce.ledger.executions.tables import FILE, WORKFLOWS
from askonce.ledger.migrate import LATEST, migrate
from askonce.wire.native_answer import NATIVE
from askonce.workflows.asking import Asking
from askonce.workflows.dispatcher import Dispatcher, Limit, Terms
from askonce.workflows.engine import durable
from askonce.workflows.engine.database import postgres_engine, sqlite_engine
from askonce.workflows.making import Tools
from askonce.workflows.run import House, Runs
from askonce.workflows.scribe import Scribe
from askonce.workflows.submitters import Submitters

pytestmark = pytest.mark.timeout(300)
DEADLINE_S = 90.0
HOUR_S = 3600.0
NONE = "-"  # no node stalls
CHAIN = (node("a"), node("b", "a"), node("c", "b"), node("d", "c"))
DRAIN_S = 30.0  # for the engine to note the end of what has ended


class Times:
    """Hold what outlives a version: the rows, the engine's memory, and a vendor that lets one node wait for ever."""

    def __init__(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place = place
        self.world = WorkflowWorld(self._answer)
        self.stalls = ""
        self._monkeypatch = monkeypatch

    def asked(self) -> list[str]:
        """Return what was paid for, in that order."""
        return [asked_of(paid.call).partition("(")[0] for paid in self.world.road.paid]

    async def live(self, version: str, stalls: str, until: Callable[[Execution], bool]) -> Execution:
        """Be a worker of a version until something is so; return how the execution stands then."""
        self._monkeypatch.setattr(durable, "VERSION", version)
        self.stalls, self.world.road.takes_s = stalls, 0.0
        rows = open_beside(self.place.url, self.place.folder, FILE, Bounds())
        try:
            await migrate(rows, LATEST, WORKFLOWS)
            store = SqlExecutions(rows, self.world.clock)
            await store.submit([workflow(*CHAIN)])
            stop = asyncio.Event()
            working = asyncio.ensure_future(self._work(store, stop))
            try:
                async with asyncio.timeout(DEADLINE_S):
                    while not until(await _found(store)) and not working.done():
                        await asyncio.sleep(0.01)
            finally:
                stop.set()
                await working
            return await _found(store)
        finally:
            await rows.dispose()

    async def nodes(self) -> dict[str, NodeRun]:
        """Return the nodes' rows."""
        rows = open_beside(self.place.url, self.place.folder, FILE, Bounds())
        try:
            return {run.node: run for run in await SqlExecutions(rows, self.world.clock).nodes("e1")}
        finally:
            await rows.dispose()

    def engines(self) -> dict[str, tuple[str, str]]:
        """Return what the engine remembers: status and version, by its own ids."""
        address = parse(self.place.url, self.place.folder)
        if isinstance(address, SqliteFile):
            engine, table = sqlite_engine(address.path.with_name("engine.db")), "workflow_status"
        else:
            engine, table = postgres_engine(address.dsn), f"{durable.SCHEMA}.workflow_status"
        try:
            with engine.connect() as connection:
                asked = f"SELECT workflow_uuid, status, application_version FROM {table}"
                return {id: (status, version) for id, status, version in connection.execute(text(asked))}
        finally:
            engine.dispose()

    async def _work(self, store: SqlExecutions, stop: asyncio.Event) -> None:
        world = self.world
        asking = Asking(world.road.of(Life()), Submitters(world.directory, world.clock), world.clock, lambda: 0.0)
        tools = Tools(asking, world.crafts, world.reach, NATIVE)
        runs = Runs(House(Scribe(store), tools, {}, world.saved, world.clock, world.notes, 600))
        drain_s = DRAIN_S if self.stalls == NONE else 0.0
        terms = Terms(dict.fromkeys(QUEUES, Limit(4)), DAY_MS, DAY_MS, drain_s)
        await Dispatcher(store, *parts(self.place), terms, world.clock).run(runs, stop)

    def _answer(self, paid: Paid) -> str:
        if asked_of(paid.call).startswith(f"{self.stalls}("):
            self.world.road.takes_s = HOUR_S
        return echo(paid)


async def _found(store: SqlExecutions) -> Execution:
    found = await store.find("e1", None)
    assert found is not None
    return found


@pytest.fixture
def times(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Times]:
    times = Times(place, monkeypatch)
    yield times
    assert times.world.notes.defects == []


def has_ended(execution: Execution) -> bool:
    return execution.has_ended


def test_another_version_goes_on_with_what_one_began_and_pays_nothing_twice(times: Times) -> None:
    old = asyncio.run(times.live("old", "c", lambda _: times.asked() == ["a", "b", "c"]))
    assert (old.status, old.taken) == ("running", 1)
    new = asyncio.run(times.live("new", NONE, has_ended))
    assert (new.status, new.error, new.taken, new.round) == ("succeeded", "", 2, 1)
    # What `c` was asked by the old version never arrived; all else is asked once.
    assert times.asked() == ["a", "b", "c", "c", "d"]
    assert times.world.road.repeated == []
    assert times.world.saved.booked == ["a", "b"]
    assert new.totals.cost_nano == 4_000
    texts = {id: run.text for id, run in asyncio.run(times.nodes()).items()}
    assert texts == {"a": "<a()>", "b": "<b(<a()>)>", "c": "<c(<b(<a()>)>)>", "d": "<d(<c(<b(<a()>)>)>)>"}
    assert times.engines() == {"e1.1": ("PENDING", "old"), "e1.1~2": ("SUCCESS", "new")}


def test_a_version_that_is_taken_back_goes_on_with_what_the_other_one_did(times: Times) -> None:
    asyncio.run(times.live("old", "b", lambda _: times.asked() == ["a", "b"]))
    asyncio.run(times.live("new", "c", lambda _: times.asked() == ["a", "b", "b", "c"]))
    back = asyncio.run(times.live("old", NONE, has_ended))
    assert (back.status, back.error, back.taken) == ("succeeded", "", 3)
    assert times.asked() == ["a", "b", "b", "c", "c", "d"]
    assert times.world.road.repeated == []
    assert times.engines() == {"e1.1": ("SUCCESS", "old"), "e1.1~2": ("PENDING", "new")}


def test_events_of_all_versions_are_numbered_without_a_gap(times: Times) -> None:
    asyncio.run(times.live("old", "c", lambda _: times.asked() == ["a", "b", "c"]))
    asyncio.run(times.live("new", NONE, has_ended))

    async def events() -> list[tuple[int, str, str]]:
        rows = open_beside(times.place.url, times.place.folder, FILE, Bounds())
        try:
            told = await SqlExecutions(rows, times.world.clock).events({"e1": 0}, 500)
        finally:
            await rows.dispose()
        return [(one.number, one.kind, msgspec.json.decode(one.data).get("status", "")) for one in told]

    told = asyncio.run(events())
    assert [number for number, _, _ in told] == list(range(1, len(told) + 1))
    assert told[-1][1:] == ("done", "succeeded")
    assert sum(kind == "node" and status == "succeeded" for _, kind, status in told) == len(CHAIN)
