"""The world of the ledger's tests: both databases, rows that could have happened, and what is in the tables."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import strategies as st
from sqlalchemy import Table, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tests.ledger.postgres import Postgres

from askonce.domain.ledger import AuditRow, Batch, CallRow, CountRow, Origin, Record, SampleRow
from askonce.ledger.engine import open_engine, reading, writing
from askonce.ledger.migrate import migrate
from askonce.ledger.tables import calls, counts, places, samples, sources, texts, usage

DAY = 86_400_000
NOON = 1_767_268_800_000  # 1 January 2026, 12:00 UTC
ALL = (calls, samples, texts, counts, usage, places, sources)
_T = TypeVar("_T")


class Place:
    """Name an empty database of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    @asynccontextmanager
    async def open(self, *, migrated: bool = True) -> AsyncIterator[AsyncEngine]:
        """Open it, in the event loop that uses it."""
        engine = open_engine(self.url, self.folder)
        try:
            if migrated:
                await migrate(engine)
            yield engine
        finally:
            await engine.dispose()

    def play(self, act: Callable[[AsyncEngine], Coroutine[Any, Any, _T]]) -> _T:
        """Do something with it, its tables being there."""

        async def whole() -> _T:
            async with self.open() as engine:
                return await act(engine)

        return asyncio.run(whole())


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Have each database in turn."""
    if request.param == "sqlite":
        yield Place("", tmp_path)
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.database()
    try:
        yield Place(url, tmp_path)
    finally:
        server.drop(url)


def call(at_ms: int = NOON, **changes: Any) -> CallRow:
    """Make a call that was answered; `tenant`, `key_id`, `door` … go into its origin."""
    origin = {name: changes.pop(name) for name in Origin.__struct_fields__ if name in changes}
    given: dict[str, Any] = {
        "at_ms": at_ms,
        "origin": Origin(**{"tenant": "acme", "key_id": "k1", "door": "generate", "request_id": "r", **origin}),
        "provider": "openai",
        "model": "gpt-4o",
        "model_version": "gpt-4o-2024-08-06",
        "ending": "answered",
        "counted": True,
        "stored": True,
        "cost_nano": 1_262_500,
        "prompt_tokens": 57,
        "completion_tokens": 112,
        "took_ms": 812,
    }
    return CallRow(**{**given, **changes})


def count(at_ms: int = NOON, kind: str = "exact", number: int = 1, **changes: Any) -> CountRow:
    """Make a minute's addition to a counter."""
    given: dict[str, Any] = {
        "minute": at_ms // 60_000,
        "tenant": "acme",
        "key_id": "k1",
        "door": "generate",
        "provider": "openai",
        "model": "gpt-4o",
        "kind": kind,
        "count": number,
        "saved_nano": 1_262_500 * number,
        "saved_tokens": 169 * number,
    }
    return CountRow(**{**given, **changes})


def batch(*records: Record, first: int = 1, source: str = "s") -> Batch:
    """Number records."""
    return Batch(source, first, first + len(records) - 1, records)


async def no_audit(_: AsyncConnection, rows: Sequence[AuditRow]) -> None:
    """Stand in for the audit's sealer where there is no audit."""
    assert not rows


async def rows_of(engine: AsyncEngine, table: Table) -> list[dict[str, Any]]:
    """Return all that is in a table, in the order of its key."""
    async with reading(engine) as connection:
        found = await connection.execute(select(table).order_by(*table.primary_key.columns))
        return [dict(row) for row in found.mappings()]


async def clear(engine: AsyncEngine) -> None:
    """Empty all tables."""
    async with writing(engine) as connection:
        for table in ALL:
            await connection.execute(delete(table))


_words = st.sampled_from(["", "a", "b", "ß\N{SNOWMAN}"])
_amounts = st.integers(0, 10**15)
_tokens = st.integers(0, 10**9)
_times = st.integers(NOON - 40 * DAY, NOON + 40 * DAY)
origins = st.builds(
    Origin, tenant=_words, key_id=_words, user_id=_words, door=_words, request_id=_words, trace_id=_words
)
call_rows = st.builds(
    CallRow,
    at_ms=_times,
    origin=origins,
    provider=_words,
    model=_words,
    model_version=_words,
    ending=st.sampled_from(["answered", "failed", "abandoned"]),
    counted=st.booleans(),
    stored=st.booleans(),
    cost_nano=_amounts,
    saved_prompt_cache_nano=_amounts,
    prompt_tokens=_tokens,
    completion_tokens=_tokens,
    cached_tokens=_tokens,
    cache_write_tokens=_tokens,
    reasoning_tokens=_tokens,
    estimated=st.booleans(),
    took_ms=st.integers(0, 10**6),
    first_token_ms=st.integers(0, 10**6),
    error_code=_words,
    priced=st.booleans(),
    cache_write_1h_tokens=_tokens,
)
count_rows = st.builds(
    CountRow,
    minute=_times.map(lambda at_ms: at_ms // 60_000),
    tenant=_words,
    key_id=_words,
    door=_words,
    provider=_words,
    model=_words,
    kind=st.sampled_from(["exact", "coalesced", "resumed", "rate_limited", "refused"]),
    count=st.integers(1, 10**6),
    saved_nano=_amounts,
    saved_tokens=_tokens,
)
sample_rows = st.builds(
    SampleRow,
    at_ms=_times,
    origin=origins,
    provider=_words,
    model=_words,
    kind=st.sampled_from(["exact", "coalesced"]),
    saved_nano=_amounts,
    took_ms=st.integers(0, 10**6),
)
records: st.SearchStrategy[Record] = st.one_of(call_rows, count_rows, sample_rows)
