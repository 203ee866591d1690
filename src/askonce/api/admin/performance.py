"""How long things take, over all processes of the node that answers."""

from collections.abc import Callable
from typing import Annotated

from msgspec import Meta, Struct

from askonce.api.bodies import Body
from askonce.api.errands import Errand, Handler
from askonce.domain.durations import Spread
from askonce.telemetry.percentiles import MINUTES_MAX

DEFAULT_MINUTES = 15


class PerformanceQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Ask for the last minutes."""

    minutes: Annotated[int, Meta(ge=1, le=MINUTES_MAX)] = DEFAULT_MINUTES


class DoorTimes(Body, frozen=True):
    """Hold how long requests of one door took, by how their answers came about ("" where none was asked for)."""

    door: str
    cache: str
    took: Spread


class ProviderTimes(Body, frozen=True):
    """Hold how long calls to one model took, whole and until the first token."""

    provider: str
    model: str
    took: Spread
    first_token: Spread


class StageTimes(Body, frozen=True):
    """Hold how long one stage took: `store` of every question, `ledger` of every batch, the others of paid calls."""

    stage: str
    took: Spread


class ProcessUse(Body, frozen=True):
    """Hold what one process uses now. CPU seconds since it began."""

    process: str
    cpu_seconds: float
    resident_bytes: int
    open_files: int
    in_flight: int
    started_ms: int


class Performance(Body, frozen=True):
    """Answer with everything that was seen from `since` to `until` (epoch milliseconds).

    `since` is up to a minute earlier than asked for, and later where the process that answers is younger.
    """

    since: int
    until: int
    doors: list[DoorTimes]
    providers: list[ProviderTimes]
    stages: list[StageTimes]
    processes: list[ProcessUse]


Perform = Callable[[int], Performance]


def performance_handlers(perform: Perform) -> dict[str, Handler]:
    """Return the handler of the door."""

    async def handle(errand: Errand) -> Performance:
        assert isinstance(errand.query, PerformanceQuery)  # noqa: S101 - as the door's row says
        return perform(errand.query.minutes)

    return {"performance": handle}
