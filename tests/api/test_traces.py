"""The id of the trace that a request belongs to, as W3C's Trace Context writes it."""

from typing import Any

import pytest

from askonce.api.requests import Request

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def never() -> Any:
    raise AssertionError


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        (f"cc-{TRACE}-00f067aa0ba902b7-01-what-comes-later", TRACE),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", ""),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", ""),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", ""),
        (f"00-{TRACE}-00f067aa0ba902b7", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_the_id_is_read_from_a_sound_header_only(sent: str | None, found: str) -> None:
    headers = [] if sent is None else [(b"traceparent", sent.encode())]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    assert Request(scope, never).trace_id() == found
