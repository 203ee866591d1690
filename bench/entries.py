"""Answer from a large store: how long a hit takes among 1,000 entries and among 1,000,000.

Two servers with a data folder each, both with the same settings, asked in turns for entries drawn at random, one at a
time. The stores are filled in this process, through the same port that the gateway stores by.
"""

import asyncio
import time
from pathlib import Path

from msgspec.structs import replace

from askonce.cache.fingerprint import fingerprints
from askonce.domain.answer import Answer, Entry, pack
from askonce.domain.call import CacheWish, Candidate
from askonce.domain.caller import ANONYMOUS_TENANT
from askonce.domain.clock import SystemClock
from askonce.domain.usage import Usage
from askonce.state.lmdb_state import LmdbState
from askonce.supervisor.folder import DataFolder
from askonce.wire.native import read_generate
from askonce.wire.native_answer import NATIVE
from bench import questions
from bench.figures import Result, Scale, doubts, median, shared
from bench.load import Load, Question, wrk
from bench.servers import TRUSTED, Server, askonce, scripted

TARGET = 1.5
FEW, MANY = 1_000, 1_000_000
CACHE_BYTES = 8 << 30
KEPT_S = 24 * 3600
CANDIDATE = Candidate("scripted", "demo")


def run(folder: Path, scale: Scale) -> list[Result]:
    """Fill two stores, then ask both in turns."""
    many = 20_000 if scale.quick else MANY
    few, full = folder / "few", folder / "many"
    filled = [fill(few, FEW), fill(full, many)]
    settings = f"{TRUSTED}\ncache_size = {CACHE_BYTES}"
    with (
        askonce(few, scripted(few, questions.CODE, settings)) as small,
        askonce(full, scripted(full, questions.CODE, settings)) as large,
    ):
        return [*measure((small, FEW), (large, many), scale), *filled[1:]]


def fill(folder: Path, count: int) -> Result:
    """Store so many answers as a gateway would."""
    data = folder / "data"
    DataFolder.claim(data).release()
    state = LmdbState(data, CACHE_BYTES, SystemClock(), "0:fill")
    state.open()
    began, began_cpu = time.monotonic(), time.process_time()
    asyncio.run(_keep_all(state, count))
    took, cpu = time.monotonic() - began, time.process_time() - began_cpu
    entries, content = state.answers.measure(ANONYMOUS_TENANT)
    state.close()
    if entries != count:
        raise SystemExit(f"{count} entries were stored, {entries} are there")
    size = (data / "state" / "cache" / "data.mdb").stat().st_size
    value = f"{size / count:,.0f} B on disk for {content / count:,.0f} B, {count / took:,.0f}/s stored"
    print(f"{count:,} entries: {value} ({cpu / count * 1e6:.0f} µs of CPU each), file of {size / 2**20:,.0f} MiB")
    return Result("entries", f"each of {count:,} entries", value)


async def _keep_all(state: LmdbState, count: int) -> None:
    template = _template()
    for number in range(count):
        body = questions.body(str(number)).encode()
        call = read_generate(body, ANONYMOUS_TENANT, CacheWish()).call
        key = fingerprints(call, (CANDIDATE,)).entries[0]
        if not await state.answers.keep(replace(template, key=key)):
            raise SystemExit(f"entry {number} was not kept: {state.answers.ailment}")


def _template() -> Entry:
    answer = Answer(questions.CODE, "stop", Usage(60, 110), CANDIDATE.provider, CANDIDATE.model, CANDIDATE.model)
    now_ms = SystemClock().wall_ms()
    return Entry(
        key=b"",
        tenant=ANONYMOUS_TENANT,
        provider=CANDIDATE.provider,
        model=CANDIDATE.model,
        stored_ms=now_ms,
        expires_ms=now_ms + KEPT_S * 1000,
        cost_nano=0,
        prompt_tokens=60,
        completion_tokens=110,
        answer=pack(answer),
        shape=NATIVE.name,
        rendition=NATIVE.rendition(answer),
    )


def measure(small: tuple[Server, int], large: tuple[Server, int], scale: Scale) -> list[Result]:
    """Ask for random entries, one at a time, round by round."""
    pairs: list[tuple[Load, Load]] = []
    for number in range(scale.rounds):
        pairs.append((_ask(*small, scale), _ask(*large, scale)))
        few, many = pairs[-1]
        print(
            f"round {number + 1}: {small[1]:,} entries p50 {few.p50_us} µs, p99 {few.p99_us} µs, {few.cpu_us:.1f} µs"
            f" of CPU   {large[1]:,} entries p50 {many.p50_us} µs, p99 {many.p99_us} µs, {many.cpu_us:.1f} µs of CPU"
            f"   ratio p50 {many.p50_us / few.p50_us:.2f}, p99 {many.p99_us / few.p99_us:.2f}"
        )
    for server, _ in (small, large):
        stats = server.stats()
        if stats["misses"]:
            raise SystemExit(f"not all were hits: {stats}")
    p50 = median([many.p50_us / few.p50_us for few, many in pairs])
    p99 = median([many.p99_us / few.p99_us for few, many in pairs])
    cpu = median([many.cpu_us / few.cpu_us for few, many in pairs])
    return [
        Result("entries", "p50, many to few", f"{p50:.2f}", f"< {TARGET}", p50 < TARGET, _doubts(pairs, "p50_us")),
        Result("entries", "p99, many to few", f"{p99:.2f}", f"< {TARGET}", p99 < TARGET, _doubts(pairs, "p99_us")),
        Result("entries", "CPU time, many to few", f"{cpu:.2f}", "", None, _doubts(pairs, "cpu_us")),
    ]


def _ask(server: Server, count: int, scale: Scale) -> Load:
    question = Question(questions.body("@@"), f"random:{count}")
    return wrk(f"{server.url}/llm/generate", question, server.workers()[0], connections=1, seconds=scale.seconds)


def _doubts(pairs: list[tuple[Load, Load]], what: str) -> tuple[str, ...]:
    varied = doubts([float(getattr(few, what)) for few, _ in pairs], f"{what} with few entries")
    return varied + shared([load.waited for pair in pairs for load in pair])
