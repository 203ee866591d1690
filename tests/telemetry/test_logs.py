"""Log lines: one stream, the request's id on each, and no secret or prompt in any."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from askonce.domain.credentials import mint_key
from askonce.telemetry import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    level = root.level
    out = io.StringIO()
    logs.configure("info", "auto", out)
    yield out
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_without_a_terminal_a_line_is_json_with_time_level_and_logger(stream: io.StringIO) -> None:
    logs.get("askonce.x").info("hello", port=3)
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["logger"], line["port"]) == ("hello", "info", "askonce.x", 3)
    assert line["timestamp"].endswith("Z")
    assert len(line["timestamp"]) == len("2026-01-01T00:00:00.000Z")


def test_a_terminal_gets_lines_for_people() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    before = logging.getLogger().handlers[:]
    logs.configure("info", "auto", out)
    logs.get("askonce.x").info("hello")
    logging.getLogger().handlers[:] = before
    structlog.reset_defaults()
    assert "hello" in out.getvalue()
    assert not out.getvalue().startswith("{")


def test_the_requests_id_is_on_every_line_the_librarys_included(stream: io.StringIO) -> None:
    token = logs.request_id.set("r-1")
    logs.get("askonce.x").info("ours")
    logging.getLogger("askonce.y").warning("theirs %s", "too", extra={"port": 3})
    logs.request_id.reset(token)
    logs.get("askonce.x").info("outside")
    first, second, third = lines(stream)
    assert (first["request_id"], second["request_id"]) == ("r-1", "r-1")
    assert (second["event"], second["port"]) == ("theirs too", 3)
    assert "request_id" not in third


@pytest.mark.parametrize(
    "field",
    [
        "api_key",
        "apiKey",
        "authorization",
        "cookie",
        "set_cookie",
        "password",
        "secret",
        "prompt",
        "messages",
        "content",
    ],
)
def test_a_field_that_is_named_like_a_secret_is_hidden_at_any_depth(stream: io.StringIO, field: str) -> None:
    logs.get("x").info("event", **{field: "told", "deep": {"list": [{field: "told"}]}})
    assert "told" not in stream.getvalue()


@pytest.mark.parametrize("field", ["prompt_tokens", "completion_tokens", "tokens", "max_tokens", "saved_tokens"])
def test_counts_of_tokens_are_no_secrets(stream: io.StringIO, field: str) -> None:
    logs.get("x").info("event", **{field: 12})
    assert lines(stream)[0][field] == 12


@pytest.mark.parametrize(
    "text",
    [
        "key sk-proj-abcdefghijkl was refused",
        "Authorization: Bearer abcdefghijkl",
        "xai-abcdefghijkl",
        "SK-ABCDEFGHIJKL sk_abcdefghijkl",
        "AIzaabcdefghijklabcdefghijkl",
        "BEARER\tabcdefghijkl",
        "postgres://user:abcdefghijkl@host/db",
    ],
)
def test_a_text_that_holds_something_like_a_key_loses_it(stream: io.StringIO, text: str) -> None:
    logs.get("x").warning(text, also=[text])
    logging.getLogger("y").warning("%s", text)
    try:
        raise ValueError(text)
    except ValueError:
        logs.get("x").exception("failed")
    assert "abcdefghijkl" not in stream.getvalue()
    assert len(lines(stream)) == 3


@given(before=st.text(max_size=20), after=st.text(max_size=20), prefix=st.sampled_from(logs._PREFIXES))
def test_the_quick_look_overlooks_nothing_that_the_pattern_finds(before: str, after: str, prefix: str) -> None:
    for text in (f"{before}{prefix}-{after}abcdef", f"{before} bearer {after}", f"{before}://u:{after}p@h"):
        if logs._SECRET_TEXT.search(text):
            assert logs._has_mark(text.lower())


@pytest.mark.parametrize("field", ["half a \ud800 character", {(1, 2): "pair"}, {1: b"bytes"}, {ValueError("x")}])
def test_what_json_cannot_hold_is_logged_all_the_same(stream: io.StringIO, field: object) -> None:
    logs.get("x").info("event", field=field)
    logs.get("x").info("after")
    assert [line["event"] for line in lines(stream)] == ["event", "after"]


def test_our_own_keys_are_hidden_as_the_vendors_are(stream: io.StringIO) -> None:
    key = mint_key()
    logs.get("x").warning(f"bad key {key}", header=f"x-api-key: {key}")
    assert key[-20:] not in stream.getvalue()


def test_what_is_below_the_level_is_not_written(stream: io.StringIO) -> None:
    logs.get("x").debug("quiet")
    logging.getLogger("y").debug("quiet")
    logging.getLogger("uvicorn.error").info("quiet")
    assert stream.getvalue() == ""


def test_a_field_is_no_place_for_a_document(stream: io.StringIO) -> None:
    logs.get("x").info("event", reason="a" * 100_000)
    assert len(stream.getvalue()) < 3000


def test_logging_does_not_draw_in_the_terminal_library() -> None:
    code = "import sys, askonce.telemetry.logs; sys.exit('rich' in sys.modules or 'pygments' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_what_is_logged_does_not_fail_where_the_log_cannot_be_written(stream: io.StringIO) -> None:
    stream.close()
    logs.get("x").info("into the void")
