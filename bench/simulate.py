"""Replay public request traces through the real fingerprint, cache and windows, with simulated time.

    python -m bench.simulate TRACE... [--ttl 1h ...] [--size 2GiB ...] [--limit 20/60s] [--model gpt-4o]

A trace tells when requests came, how long they were and, if it ends in `.jsonl`, of which blocks of 512 tokens their
prompts are made; equal blocks and lengths are one question. A `.csv` (time, tokens in, tokens out) says nothing about
repeats: every request is a question of its own, and what remains to be learnt is load and memory. Neither says who
asked: all are one caller, so that `--limit` is one for everybody.
"""

import argparse
import csv
import itertools
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from askonce.cache.fingerprint import fingerprints
from askonce.config import values
from askonce.config.settings import RateLimit
from askonce.domain.call import Call, Candidate, Message, Params
from askonce.domain.clock import SystemClock
from askonce.domain.money import Price
from askonce.domain.usage import Usage
from askonce.providers.catalog import VENDORS
from askonce.providers.price_data import compile_table
from askonce.providers.prices import PriceBook
from askonce.simulation.reading import Reading, answer_bytes, took_ms
from askonce.simulation.replay import Plan
from askonce.simulation.report import remarks, table
from askonce.simulation.requests import PastRequest, Prefix
from askonce.simulation.run import simulate

TENANT = "trace"
BLOCK_TOKENS = 512
TTLS = ("1m", "5m", "1h", "1d")
SIZES = ("1MiB", "16MiB", "2GiB")


class Blocks(Struct):
    """Hold a line of a trace that tells blocks: `timestamp` in milliseconds, lengths in tokens."""

    timestamp: int
    input_length: int
    output_length: int
    hash_ids: list[int]


_blocks = msgspec.json.Decoder(Blocks)


def main() -> None:
    """Replay each trace through all plans and print a table for each."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulate", description="Replay request traces.")
    parser.add_argument("traces", nargs="+", type=Path, help="files that end in .jsonl or .csv")
    parser.add_argument("--ttl", action="append", help="how long answers are kept; may be repeated")
    parser.add_argument("--size", action="append", help="room for answers; may be repeated")
    parser.add_argument("--limit", default="off", help="requests of everybody together, such as 1000/60s")
    parser.add_argument("--model", default="gpt-4o", help="whose prices count (a model of OpenAI)")
    args = parser.parse_args()
    price = PriceBook(compile_table(VENDORS, {}, int(time.time())), SystemClock()).price("openai", args.model, "")
    if price is None:
        raise SystemExit(f"Nobody knows what {args.model} costs; name a model of OpenAI by --model.")
    try:
        plans = plan_all(args.ttl or TTLS, args.size or SIZES, args.limit)
        for path in args.traces:
            print(replay(path, plans, args.model, price))
    except (OSError, ValueError) as error:
        raise SystemExit(f"bench.simulate: {error}") from None


def plan_all(ttls: list[str] | tuple[str, ...], sizes: list[str] | tuple[str, ...], limit: str) -> list[Plan]:
    """Combine all spans with all sizes. Raises `ValueError`, which says what they must be."""
    spans = map(values.whole_duration(1, 3650 * 86_400), ttls)
    rooms = map(values.size(1 << 10, 1 << 50), sizes)
    rate = values.rate(limit) or RateLimit(0, 60)
    return [
        Plan(int(str(span)), int(str(room)), rate.requests, rate.span_s)
        for span, room in itertools.product(spans, rooms)
    ]


def replay(path: Path, plans: list[Plan], model: str, price: Price) -> str:
    """Return a trace's table, under its name and its load. Raises `OSError` and `ValueError`."""
    began = time.process_time()
    past = simulate(requests(path, model, price), plans)
    first = past[0][1]
    cpu_us = (time.process_time() - began) * 1e6 / max(1, first.requests * len(plans))
    load = (
        f"{path.name}: {first.requests:,} requests at {model}'s prices, at most {first.peak_in_flight:,} calls in the "
        f"air at once; {cpu_us:.0f} µs of CPU each"
    )
    return "\n".join([load, "", table(past), "", *remarks(Reading(), past), ""])


def requests(path: Path, model: str, price: Price) -> Iterator[PastRequest]:
    """Read a trace, one line at a time. Raises `OSError`; `ValueError` names the line that is none of a trace."""
    if path.suffix not in {".jsonl", ".csv"}:
        raise ValueError(f"{path} is no trace: its name must end in .jsonl or .csv")
    number = 0
    try:
        for number, row in enumerate(_lengths(path) if path.suffix == ".csv" else _in_blocks(path), start=1):
            yield _request(row, number, model, price)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}, request {number + 1}: {error}") from None


def _in_blocks(path: Path) -> Iterator[Blocks]:
    with path.open("rb") as lines:
        for line in lines:
            yield _blocks.decode(line)


def _lengths(path: Path) -> Iterator[Blocks]:
    with path.open(newline="") as lines:
        rows = csv.reader(lines)
        next(rows, None)
        begin: datetime | None = None
        for when, prompt, answer in rows:
            moment = datetime.fromisoformat(when)
            begin = begin or moment
            yield Blocks(int((moment - begin).total_seconds() * 1000), int(prompt), int(answer), [])


def _request(row: Blocks, number: int, model: str, price: Price) -> PastRequest:
    question = f"{row.input_length} {row.hash_ids}" if row.hash_ids else f"request {number}"
    call = Call(TENANT, (Message("user", question),), Params())
    usage = Usage(row.input_length, row.output_length)
    return PastRequest(
        at_ms=row.timestamp,
        tenant=TENANT,
        caller=TENANT,
        fingerprint=fingerprints(call, (Candidate("openai", model),)).entries[0],
        model=model,
        prompt_tokens=row.input_length,
        completion_tokens=row.output_length,
        took_ms=took_ms(row.output_length),
        answer_bytes=answer_bytes(row.output_length),
        cost_nano=price.cost_nano(usage),
        # A block's number stands for all blocks before it, too. The last one is not always full.
        prefixes=tuple(
            Prefix(block.to_bytes(8, "big"), min(row.input_length, BLOCK_TOKENS * count))
            for count, block in enumerate(row.hash_ids, start=1)
        ),
    )


if __name__ == "__main__":
    main()
