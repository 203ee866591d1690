"""Encode then decode is the identity; whatever else is refused as corrupt."""

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from askonce.cache import entry as codec
from askonce.domain.answer import Answer, Entry, pack
from askonce.domain.usage import Usage


def an_entry(text: str, rendition: bytes = b"") -> Entry:
    answer = Answer(text, "stop", Usage(3, 5), "acme", "m1", "m1-2026", cost_nano=7)
    return Entry(b"k" * 32, "team", "acme", "m1", 1_000, 2_000, 7, 3, 5, pack(answer), "generate", rendition)


@given(st.text(max_size=10_000), st.binary(max_size=10_000))
def test_what_was_encoded_comes_back(text: str, rendition: bytes) -> None:
    entry = an_entry(text, rendition)
    back = codec.decode(codec.encode(entry))
    assert back == entry
    assert back.open().text == text


def test_a_small_record_is_plain_and_a_large_one_is_compressed() -> None:
    assert b"hello" in codec.encode(an_entry("hello"))
    assert len(codec.encode(an_entry("hello " * 100_000))) < 10_000


def test_the_answer_does_not_point_into_the_given_bytes() -> None:
    data = codec.encode(an_entry("hello"))
    held = bytearray(data)
    entry = codec.decode(bytes(held))
    held[:] = bytes(len(held))
    assert entry.open().text == "hello"


@given(st.binary(max_size=200))
def test_garbage_is_corrupt(data: bytes) -> None:
    with pytest.raises(codec.EntryCorrupt):
        codec.decode(data)


@pytest.mark.parametrize("text", ["short", "long" * 5_000])
def test_a_truncated_or_lengthened_record_is_corrupt(text: str) -> None:
    data = codec.encode(an_entry(text))
    for broken in (data[:-1], data[: len(data) // 2], data[:1], b""):
        with pytest.raises(codec.EntryCorrupt):
            codec.decode(broken)
    with pytest.raises(codec.EntryCorrupt):
        codec.decode(bytes([data[0] ^ 0x40]) + data[1:])


def test_a_frame_that_claims_too_much_is_not_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = b"\xa2" + zstandard.ZstdCompressor(level=1).compress(bytes(1 << 20))
    monkeypatch.setattr(codec, "DECODED_MAX", 1 << 19)
    with pytest.raises(codec.EntryCorrupt, match="claims 1048576 bytes"):
        codec.decode(bomb)


def test_a_frame_that_hides_its_size_is_refused() -> None:
    frame = zstandard.ZstdCompressor(level=1, write_content_size=False).compress(msgspec.msgpack.encode([1]))
    with pytest.raises(codec.EntryCorrupt):
        codec.decode(b"\xa2" + frame)


def test_an_entry_over_the_bound_is_not_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "DECODED_MAX", 5_000)
    with pytest.raises(ValueError, match="over the bound"):
        codec.encode(an_entry("x" * 6_000))
