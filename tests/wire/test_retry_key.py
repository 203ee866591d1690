"""Idempotency-Key as callers may write it."""

import pytest

from askonce.domain.errors import Invalid
from askonce.wire.retry_key import LONGEST, read_retry_key


@pytest.mark.parametrize(
    "header", [b"a", b"8e03978e-40d5-43dd-bc93-6894a57f9324", b'"quoted"', b"two words", b"~" * LONGEST]
)
def test_a_name_is_taken_as_it_was_sent(header: bytes) -> None:
    assert read_retry_key(header) == header.decode()


@pytest.mark.parametrize("header", [b"", b"a" * (LONGEST + 1), b"tab\there", "schlüssel".encode(), b"\x7f", b"a\n"])
def test_other_names_are_refused_by_the_headers_name(header: bytes) -> None:
    with pytest.raises(Invalid, match="Idempotency-Key must be 1 to 255 printable ASCII") as refused:
        read_retry_key(header)
    assert [detail.field for detail in refused.value.details] == ["Idempotency-Key"]
