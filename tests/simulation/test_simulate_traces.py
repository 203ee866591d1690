"""The replay of traces, on small ones of the same formats."""

from pathlib import Path

import pytest
from bench.simulate import plan_all, replay, requests

from askonce.domain.money import Price, Rate

PRICE = Price(Rate(10**9), Rate(10**9))
BLOCKS = """\
{"timestamp": 0, "input_length": 1200, "output_length": 60, "hash_ids": [0, 1, 2]}
{"timestamp": 1000, "input_length": 1200, "output_length": 60, "hash_ids": [0, 1, 2]}
{"timestamp": 2000, "input_length": 1200, "output_length": 60, "hash_ids": [0, 1, 2]}
{"timestamp": 3000, "input_length": 1201, "output_length": 60, "hash_ids": [0, 1, 2]}
{"timestamp": 90000, "input_length": 1200, "output_length": 60, "hash_ids": [0, 1, 2]}
"""
LENGTHS = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319600,3180,8
2023-11-16 18:17:04.0319600,3180,8
"""


def test_equal_blocks_and_lengths_are_one_question(tmp_path: Path) -> None:
    trace = tmp_path / "blocks.jsonl"
    trace.write_text(BLOCKS)
    found = list(requests(trace, "gpt-4o", PRICE))
    assert len({one.fingerprint for one in found}) == 2
    assert [prefix.tokens for prefix in found[0].prefixes] == [512, 1024, 1200]
    # An answer takes 1.5 s: the second joins, the third hits, the last comes when a minute is over.
    told = replay(trace, plan_all(("1m", "1h"), ("1MiB",), "off"), "gpt-4o", PRICE)
    minute, hour = (line.split() for line in told.splitlines()[3:5])
    assert minute[:4] == ["1m", "1MiB", "1", "1"]
    assert hour[:4] == ["1h", "1MiB", "2", "1"]


def test_a_trace_of_lengths_has_no_repeats(tmp_path: Path) -> None:
    trace = tmp_path / "lengths.csv"
    trace.write_text(LENGTHS)
    found = list(requests(trace, "gpt-4o", PRICE))
    assert [(one.at_ms, one.prompt_tokens, one.completion_tokens) for one in found] == [
        (0, 4808, 10),
        (52, 3180, 8),
        (52, 3180, 8),
    ]
    assert len({one.fingerprint for one in found}) == 3


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.jsonl", BLOCKS + "nonsense\n", "request 6"),
        ("a.jsonl", '{"timestamp": 0}\n', "input_length"),
        ("a.csv", LENGTHS + "yesterday,1,2\n", "request 4"),
        ("a.csv", LENGTHS + "2023-11-16 18:17:05,1\n", "request 4"),
        ("a.txt", BLOCKS, "must end in"),
    ],
)
def test_what_is_no_trace_is_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    trace = tmp_path / name
    trace.write_text(text)
    with pytest.raises(ValueError, match=said):
        list(requests(trace, "gpt-4o", PRICE))
