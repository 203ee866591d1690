"""Public traces in their own formats, made small."""

from pathlib import Path

from bench.simulate import azure, mooncake

from askonce.domain.money import Price, Rate
from askonce.simulation.replay import Plan
from askonce.simulation.run import simulate

PRICE = Price(Rate(10**9), Rate(10**9))


def test_equal_blocks_and_lengths_are_repeats_and_blocks_are_prefixes(tmp_path: Path) -> None:
    path = tmp_path / "mooncake-x.jsonl"
    path.write_text(
        '{"timestamp": 0, "input_length": 1600, "output_length": 5, "hash_ids": [1, 2, 3, 4]}\n'
        '{"timestamp": 60000, "input_length": 1600, "output_length": 9, "hash_ids": [1, 2, 3, 4]}\n'
        '{"timestamp": 61000, "input_length": 1700, "output_length": 9, "hash_ids": [1, 2, 3, 5]}\n'
    )
    ((_, found),) = simulate(mooncake(path, PRICE), [Plan()])
    assert (found.requests, found.hits, found.paid) == (3, 1, 2)
    assert found.prompt_cached_tokens == 1536


def test_times_that_say_nothing_of_repeats_have_none(tmp_path: Path) -> None:
    path = tmp_path / "azure-x.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,4808,10\n"
    )
    ((_, found),) = simulate(azure(path, PRICE), [Plan()])
    assert (found.paid, found.hits, found.cost_nano) == (2, 0, 2 * 4_818_000)
