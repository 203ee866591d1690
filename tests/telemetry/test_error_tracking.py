"""Sentry hears of what nobody expected, and of nothing that a caller said."""

from collections.abc import Iterator

import pytest
from tests.telemetry.sentryserver import SentryServer

from askonce import __version__
from askonce.domain.errors import ProviderFailed, StoreUnavailable
from askonce.domain.ledger import CallRow, Origin
from askonce.telemetry import errors, logs
from askonce.telemetry.errors import WITHHELD, Destination, ErrorTracking

PROMPT, KEY, COOKIE = "my diary of yesterday", "sk-abcdefghijklmnop", "sessionId=very-secret-session"


@pytest.fixture
def sentry() -> Iterator[SentryServer]:
    with SentryServer() as server:
        yield server


def tracking(sentry: SentryServer) -> ErrorTracking:
    return ErrorTracking(Destination(sentry.dsn, "staging", "node-a", "gateway-0"))


def fail(prompt: str, key: str) -> None:
    headers = {"cookie": COOKIE, "authorization": key}
    try:
        raise KeyError(prompt)
    except KeyError as error:
        raise ValueError(f"cannot read {prompt} with {headers}") from error


def defect() -> BaseException:
    try:
        fail(PROMPT, KEY)
    except ValueError as error:
        return error
    raise AssertionError


def test_a_defect_is_sent_with_release_request_and_place_but_without_what_was_said(sentry: SentryServer) -> None:
    tracker = tracking(sentry)
    token = logs.request_id.set("r-17")
    try:
        tracker.defect(defect())
    finally:
        logs.request_id.reset(token)
    tracker.close()
    (event,) = sentry.events
    assert event["release"] == f"askonce@{__version__}"
    assert (event["environment"], event["server_name"]) == ("staging", "node-a")
    assert event["tags"] == {"process": "gateway-0", "request_id": "r-17"}
    assert event["fingerprint"][:2] == ["defect", "ValueError"]
    assert [one["type"] for one in event["exception"]["values"]] == ["KeyError", "ValueError"]
    assert [one["value"] for one in event["exception"]["values"]] == [WITHHELD, WITHHELD]
    assert event["exception"]["values"][1]["stacktrace"]["frames"][-1]["function"] == "fail"
    whole = b"".join(sentry.raw)
    for secret in (PROMPT, KEY, "very-secret-session", "vars"):
        assert secret.encode() not in whole


def test_words_of_ours_and_of_the_system_are_sent_and_a_vendors_are_not(sentry: SentryServer) -> None:
    tracker = tracking(sentry)
    tracker.defect(OSError(28, "No space left on device"))
    tracker.defect(ProviderFailed(f"Acme failed: your prompt was {PROMPT}"))
    tracker.defect(ConnectionError(f"https://u:{KEY}@host refused"))
    tracker.close()
    said = [event["exception"]["values"][0]["value"] for event in sentry.events]
    assert said[:2] == ["[Errno 28] No space left on device", WITHHELD]
    assert KEY not in said[2]


def test_what_could_not_be_booked_is_told_without_what_it_was(sentry: SentryServer) -> None:
    tracker = tracking(sentry)
    row = CallRow(1, Origin("acme-tenant"), "openai", "gpt-4o", "", "answered", True, True, 5)
    tracker.unbooked(row, StoreUnavailable("The store is away."))
    tracker.close()
    (event,) = sentry.events
    assert event["tags"]["kind"] == "callrow"
    assert event["exception"]["values"][0]["value"] == "The store is away."
    assert b"acme-tenant" not in b"".join(sentry.raw)


def test_a_storm_is_told_by_its_first_events(sentry: SentryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "EVENTS_PER_MINUTE", 3)
    monkeypatch.setattr("askonce.telemetry.errors.time.monotonic", lambda: 60_000.0)
    tracker = tracking(sentry)
    for _ in range(10):
        tracker.defect(defect())
    tracker.close()
    assert len(sentry.events) == 3


def test_a_sentry_that_is_away_stops_nobody() -> None:
    tracker = ErrorTracking(Destination("http://public@127.0.0.1:9/42", "staging", "node-a", "gateway-0"))
    tracker.defect(defect())
    tracker.close()
