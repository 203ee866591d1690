"""Replay public request traces through the real fingerprint, cache and windows: `python -m bench.simulate FOLDER`.

Traces hold no texts. Mooncake's (https://github.com/kvcache-ai/Mooncake, FAST25-release) name each 512-token block of a
prompt by a number: a request becomes a call whose text is those numbers and its length, so that equal ones have equal
fingerprints and blocks are what a vendor's prompt cache would know. Azure's
(https://github.com/Azure/AzurePublicDataset, 2023) say when and how long, nothing about repeats: each is a question of
its own, and shows what the cache holds and how many are in the air.
"""

import argparse
import csv
import hashlib
import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from askonce.cache.fingerprint import fingerprints
from askonce.domain.call import Call, Candidate, Message, Params
from askonce.domain.clock import SystemClock
from askonce.domain.money import Price
from askonce.domain.usage import Usage
from askonce.providers.catalog import VENDORS
from askonce.providers.price_data import compile_table
from askonce.providers.prices import PriceBook
from askonce.simulation.reading import BYTES_PER_TOKEN, ENTRY_BYTES, FIRST_MS, TOKENS_PER_S, Reading
from askonce.simulation.replay import Plan
from askonce.simulation.report import remarks, table
from askonce.simulation.requests import PastRequest, Prefix
from askonce.simulation.run import simulate

BLOCK = 512  # tokens
MODEL = Candidate("openai", "gpt-4o")
HOUR_S = 3600
PLANS = tuple(Plan(ttl_s, size) for ttl_s in (60, 600, HOUR_S) for size in (1 << 20, 4 << 20, 2 << 30))


def mooncake(path: Path, price: Price) -> Iterator[PastRequest]:
    """Read one of Mooncake's traces: JSON lines of timestamp (ms), input_length, output_length and hash_ids."""
    with path.open() as lines:
        for line in lines:
            row = json.loads(line)
            blocks: list[int] = row["hash_ids"]
            text = f"{row['input_length']} {blocks}"
            yield _request(row["timestamp"], text, row["input_length"], row["output_length"], price, blocks)


def azure(path: Path, price: Price) -> Iterator[PastRequest]:
    """Read one of Azure's traces: CSV of TIMESTAMP, ContextTokens and GeneratedTokens."""
    with path.open() as file:
        for number, row in enumerate(csv.DictReader(file)):
            at_ms = int(datetime.fromisoformat(row["TIMESTAMP"][:26] + "+00:00").timestamp() * 1000)
            yield _request(at_ms, str(number), int(row["ContextTokens"]), int(row["GeneratedTokens"]), price, [])


def _request(at_ms: int, text: str, prompt: int, completion: int, price: Price, blocks: list[int]) -> PastRequest:
    call = Call("everybody", (Message("user", text),), Params())
    digest, prefixes = hashlib.sha256(), []
    for number, block in enumerate(blocks, start=1):
        digest.update(b"%d " % block)
        prefixes.append(Prefix(digest.digest()[:16], min(BLOCK * number, prompt)))
    return PastRequest(
        at_ms=at_ms,
        tenant=call.tenant,
        caller=call.tenant,
        fingerprint=fingerprints(call, (MODEL,)).entries[0],
        model=MODEL.model,
        prompt_tokens=prompt,
        completion_tokens=completion,
        took_ms=FIRST_MS + 1000 * completion // TOKENS_PER_S,
        answer_bytes=ENTRY_BYTES + BYTES_PER_TOKEN * completion,
        cost_nano=price.cost_nano(Usage(prompt, completion)),
        prefixes=tuple(prefixes),
    )


def main() -> None:
    """Replay every trace of a folder."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulate", description="Replay request traces.")
    parser.add_argument("folder", type=Path, help="holds mooncake-*.jsonl and azure-*.csv")
    folder: Path = parser.parse_args().folder
    book = PriceBook(compile_table(VENDORS, {}, int(time.time())), SystemClock())
    price = book.price(MODEL.provider, MODEL.model, "")
    traces = [(path, mooncake) for path in sorted(folder.glob("mooncake-*.jsonl"))]
    traces += [(path, azure) for path in sorted(folder.glob("azure-*.csv"))]
    if not traces or price is None:
        raise SystemExit(f"{folder} has no mooncake-*.jsonl or azure-*.csv.")
    for path, read in traces:
        began = time.perf_counter()
        found = simulate(read(path, price), PLANS)
        requests = found[0][1].requests
        took_s = time.perf_counter() - began
        print(f"\n{path.name}: {requests:,} requests at the prices of {MODEL}, {len(PLANS)} caches in {took_s:.1f} s\n")
        print(table(found))
        print("\n".join(remarks(Reading(), found)))


if __name__ == "__main__":
    main()
