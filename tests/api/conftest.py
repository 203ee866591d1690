"""A whole gateway in memory: the real doors and the real road over a provider that is told what to answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from msgspec import Struct
from tests.api.workrows import WorkRows
from tests.ledger.ledgerworld import Place, place
from tests.ledger.postgres import postgres

from askonce.api.app import App, LimitRule, Services
from askonce.api.asking import AskDoor, Desk, Intake
from askonce.api.counting import CountDoor
from askonce.api.crossing import Crossing
from askonce.api.doors import DOORS
from askonce.api.errands import Handler
from askonce.api.metrics import MetricsDoor
from askonce.api.model_lists import ModelDoors
from askonce.api.pages import Pages
from askonce.api.resources import CacheDoors, FleetDoors
from askonce.api.slow_bodies import SlowBodies
from askonce.api.trail import Trail
from askonce.api.voices import voice_of
from askonce.api.workflows.desk import Archive, NoArchive, WorkDesk
from askonce.api.workflows.desks import work_askings, work_handlers
from askonce.api.workflows.hub import Hub
from askonce.cache.policy import Policy, Unsaid
from askonce.domain.answer import Answer, Delta
from askonce.domain.call import Ask, Call, Candidate
from askonce.domain.errors import AskonceError, StoreUnavailable, UnknownModel
from askonce.domain.fleet import ModelInfo, Offer, PartHealth, ProviderInfo
from askonce.domain.ledger import CallRow
from askonce.domain.money import Price, Rate
from askonce.domain.outcome import Spared
from askonce.domain.usage import Usage
from askonce.domain.watching import Course, Served, Worked
from askonce.gate.admission import Admission, Registry
from askonce.gate.answering import Answering
from askonce.gate.dispatch import Bills, Dispatch, Outlets
from askonce.gate.keeping import Keeper, Keeping
from askonce.gate.pipeline import Road, allowed
from askonce.gate.relay import Relay
from askonce.gate.settle import Settlement, Stores
from askonce.gate.treasury import Treasury
from askonce.providers.messages import Counter
from askonce.routing.health import Health
from askonce.routing.route import Route
from askonce.state.memory import MemoryState
from askonce.web.site import Site
from askonce.wire.anthropic_door import MESSAGES
from askonce.wire.native_answer import NATIVE
from askonce.wire.openai_door import CHAT
from askonce.wire.openai_embeddings import EMBEDDINGS
from askonce.wire.responses_door import RESPONSES

__all__ = ["Place", "place", "postgres"]  # fixtures of the ledger's tests: each database in turn

MINUTE_NS = 60_000_000_000


class Response(Struct):
    """Hold what came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Decode the body."""
        return json.loads(self.body)

    @property
    def events(self) -> list[tuple[str, Any]]:
        """Split a stream into (event, data)."""
        found = []
        for block in self.body.decode().split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != ":")
            if "event" in lines:
                found.append((lines["event"], json.loads(lines["data"])))
        return found


class HandClock:
    """Tell the time that the test sets."""

    def __init__(self) -> None:
        self.ns = 1_000_000_000_000

    def steady_ns(self) -> int:
        """Return the hand-set time."""
        return self.ns

    def wall_ms(self) -> int:
        """Return the hand-set time, many years on."""
        return 1_700_000_000_000 + self.ns // 1_000_000

    def pass_s(self, seconds: float) -> None:
        """Let time go by."""
        self.ns += int(seconds * 1_000_000_000)


class TellProvider:
    """Answer with the pieces it is told, counting its calls; wait for `gate` where one is set."""

    name = "fake"
    drains = drains_plain = False

    def __init__(self) -> None:
        self.pieces = ["```python src/a.py\n", "print(1)\n", "```\n"]
        self.error: AskonceError | None = None
        self.calls: list[Call] = []
        self.gate: asyncio.Event | None = None
        self.cached_tokens = 0
        self.service_tier = ""

    async def ask(self, call: Call, model: str, deadline_s: float) -> AsyncIterator[Delta | Answer]:
        """Play the pieces."""
        self.calls.append(call)
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        for piece in self.pieces if call.stream else ():
            yield Delta(piece)
        usage = Usage(57, 112, self.cached_tokens, service_tier=self.service_tier)
        yield Answer("".join(self.pieces), "stop", usage, self.name, model, f"{model}-2024")

    async def probe(self) -> str:
        """Say that all is well."""
        return ""

    async def models(self) -> tuple[str, ...]:
        """List nothing."""
        return ()


class World:
    """Compose a gateway by hand. Change `limits` or `keys` before `app` is asked for."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.state = MemoryState(self.clock)
        self.provider = TellProvider()
        self.keys: list[tuple[str, str]] = []
        self.limits = {
            "llm": LimitRule(20, MINUTE_NS, "Too many LLM requests, please wait before trying again."),
            "standard": LimitRule(100, MINUTE_NS),
            "refused": LimitRule(100, MINUTE_NS),
        }
        self.body_limit = 100_000
        self.unsaid = Unsaid()
        self.shapes: dict[str, str] = {}  # of the providers
        self.records: list[CallRow] = []
        self.served_all: list[Served] = []
        self.defects: list[BaseException] = []
        self.failures: list[AskonceError] = []
        self.slow_bodies = SlowBodies(30.0)
        self.named: tuple[Offer, ...] = (Offer("m", "fake", "m"),)
        self.registry: Registry | None = None
        self.trusted: tuple[str, ...] = ()
        self.crossing = Crossing(())
        self.metrics_for = "open"
        self.more: dict[str, Handler] = {}  # handlers of doors that log in and administer
        self.work = WorkRows()  # executions; `takes_work` False: workflows are off
        self.work.now_ms = self.clock.wall_ms
        self.takes_work = True
        self.archive: Archive | None = None  # instead of the rows in memory
        self.nudges = 0
        self.webhook_hosts: tuple[str, ...] = ()
        self.parts: tuple[PartHealth, ...] = (PartHealth("state", "ok", needed=True),)

    def build(self) -> App:
        """Wire everything; call it inside a running loop."""
        dispatch = Dispatch(
            Outlets({"fake": (self.provider,)}), Bills(self, self), 10.0, Health(self.clock), lambda: 0.5
        )
        keeper = Keeper(self.state.outbox, Keeping(), self.clock, lambda: 0.5)
        stores = Stores(self.state.answers, self.state.promises, self.state.books, keeper)
        settlement = Settlement(stores, Policy(True, 3600), self.clock, self)
        treasury = Treasury(self.state.budgets, self.state.outbox, self, self.clock)
        relay = Relay(self.state.flights, self.state.answers, dispatch, settlement, treasury)
        answering = Answering(relay, self.state.flights, dispatch, settlement, self)
        road = Road(self, Policy(True, 3600, self.shapes), self.state.threshold, answering, self.clock)
        intake = Intake(self.body_limit, self.slow_bodies)
        desk = Desk(road, self.clock, self, intake, self.unsaid)
        models = ModelDoors(self, self.state.windows, self.clock)
        self.trail = Trail(self.state.outbox, self.state.outbox, self.clock)
        work = self._work_desk(intake)
        self.admission = Admission(self.keys, self.trusted, False, self.registry, self.crossing.origins)
        self.settle()
        return App(
            Services(
                admission=self.admission,
                windows=self.state.windows,
                asking={
                    "generate": AskDoor("generate", NATIVE, desk),
                    "chat_completions": AskDoor("chat_completions", CHAT, desk, voice_of("/v1/chat/completions")),
                    "responses": AskDoor("responses", RESPONSES, desk, voice_of("/v1/responses")),
                    "messages": AskDoor("messages", MESSAGES, desk, voice_of("/v1/messages")),
                    "embeddings": AskDoor("embeddings", EMBEDDINGS, desk, voice_of("/v1/embeddings")),
                    "count_tokens": CountDoor(
                        Counter({"fake": (self.provider,)}, 10.0),
                        lambda ask, caller: allowed(caller, self.route(ask)).candidates[0],
                        self.state.windows,
                        intake,
                        self.clock,
                    ),
                    "model_list": models,
                    "model_object": models,
                    **work_askings(work),
                },
                cache=CacheDoors(self.state.answers, self.state.promises, self.state.books, self.clock),
                fleet=FleetDoors(self, self),
                pages=Pages(DOORS, "127.0.0.1:3001", Site(())),
                limits=self.limits,
                clock=self.clock,
                observer=self,
                trail=self.trail,
                slow_bodies=self.slow_bodies,
                more=work_handlers(work) | self.more,
                crossing=self.crossing,
                metrics=MetricsDoor(self._metrics, self.admission, self.metrics_for),
            ),
            DOORS,
        )

    def _work_desk(self, intake: Intake) -> WorkDesk:
        archive = self.archive or (self.work if self.takes_work else NoArchive())
        self.hub = Hub(archive.open, self.defect, look_s=0.005)
        return WorkDesk(
            archive=archive,
            hub=self.hub,
            windows=self.state.windows,
            clock=self.clock,
            intake=intake,
            trail=self.trail,
            choose=lambda ask, caller: self.route(ask),
            nudge=self._nudge,
            webhook_hosts=self.webhook_hosts,
        )

    async def _metrics(self, accept: str) -> tuple[bytes, str]:
        return b"# none\n", "text/plain"

    def _nudge(self) -> None:
        self.nudges += 1

    def settle(self) -> None:
        """Add what a larger world has besides; called while it is built."""

    def run(self, story: Callable[["Client"], Coroutine[Any, Any, None]]) -> None:
        """Run a story against a fresh gateway."""

        async def told() -> None:
            try:
                await story(Client(self.build()))
            finally:
                await self.hub.close()

        asyncio.run(told())

    # The ports that this little world plays itself.

    def route(self, ask: Ask) -> Route:
        """Route everything to the fake, but for one unknown model."""
        wish = ask.routing
        if wish.model == "nope":
            raise UnknownModel("There is no model nope.")
        return Route(wish.mode, (Candidate("fake", wish.model or "m"),))

    async def afford(self, ask: Ask, route: Route) -> Route:
        """Afford everything."""
        return route

    async def loaded(self) -> None:
        """Know prices from the start."""

    def price(self, provider: str, model: str, version: str) -> Price | None:
        """Charge GPT-4o's price of 2024: 2.50 and 10 dollars per million tokens."""
        return Price(Rate(2_500_000_000), Rate(10_000_000_000))

    async def usage(self, call: Call, model: str, text: str) -> Usage:
        """Guess."""
        return Usage(1, len(text), estimated=True)

    def served(self, served: Served) -> None:
        """Remember."""
        self.served_all.append(served)

    def paid(self, row: CallRow, course: Course) -> None:
        """Remember."""
        self.records.append(row)

    def worked(self, worked: Worked) -> None:
        """Fail: nothing works in the background here."""
        raise AssertionError(worked)

    def unbooked(self, ending: CallRow | Spared, error: StoreUnavailable) -> None:
        """Fail: the memory store is never away."""
        raise AssertionError(ending)

    def failed(self, error: AskonceError) -> None:
        """Remember."""
        self.failures.append(error)

    def defect(self, error: BaseException) -> None:
        """Remember."""
        self.defects.append(error)

    async def models(self) -> tuple[ModelInfo, ...]:
        """List one model."""
        return (ModelInfo("fake", "m", default=True, price=self.price("", "", "")),)

    async def offers(self) -> tuple[Offer, ...]:
        """Offer what the test set."""
        return self.named

    async def providers(self) -> tuple[ProviderInfo, ...]:
        """List one provider."""
        return (ProviderInfo("fake", "Fake", configured=True, healthy=True),)

    async def look(self) -> tuple[PartHealth, ...]:
        """Show the parts that were set."""
        return self.parts


class Client:
    """Ask an ASGI application as uvicorn would."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def post(self, body: object, path: str = "/llm/generate", **options: Any) -> Response:
        """POST a JSON body (bytes are sent as they are)."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.ask("POST", path, body=raw, **options)

    async def get(self, path: str, **options: Any) -> Response:
        """GET a path with an optional query."""
        return await self.ask("GET", path, **options)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        peer: str = "127.0.0.1",
        left: asyncio.Event | None = None,
    ) -> Response:
        """Send one request; `left` hangs up when it is set."""
        path, _, query = path.partition("?")
        sent = {"host": "127.0.0.1:3001", "content-type": "application/json"} | (headers or {})
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in sent.items() if v],
            "client": (peer, 1234),
        }
        messages = [{"type": "http.request", "body": body}]
        gone = left or asyncio.Event()
        came: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            came.append(message)

        await self.app(scope, receive, send)
        if not came:
            return Response(0, {}, b"")
        raw = came[0]["headers"]
        return Response(
            came[0]["status"],
            {k.decode(): v.decode() for k, v in raw},
            b"".join(m.get("body", b"") for m in came[1:]),
        )


@pytest.fixture
def world() -> World:
    """Make a fresh world."""
    return World()
