"""Sentry hears of processes that died, and of what one died of; the supervisor never waits for that."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.telemetry.sentryserver import SentryServer

from askonce.config.settings import Config
from askonce.supervisor.telling import Teller, tell_crash


@pytest.fixture
def sentry() -> Iterator[SentryServer]:
    with SentryServer() as server:
        yield server


def test_deaths_are_told_one_by_one(sentry: SentryServer, tmp_path: Path) -> None:
    teller = Teller(Config(data_dir=str(tmp_path), sentry_dsn=sentry.dsn, sentry_environment="staging"))
    began = time.monotonic()
    teller.died("gateway 0", "SIGKILL")
    teller.died("worker", "exit code 1")
    assert time.monotonic() - began < 1.0, "nobody waits for a library to be read"
    teller.close()
    assert [event["message"] for event in sentry.events] == [
        "gateway 0 ended unexpectedly: SIGKILL",
        "worker ended unexpectedly: exit code 1",
    ]
    assert sentry.events[0]["tags"] == {"process": "supervisor", "died": "gateway 0", "ending": "SIGKILL"}
    assert sentry.events[0]["fingerprint"] == ["died", "gateway", "SIGKILL"]
    assert sentry.events[0]["environment"] == "staging"


def test_what_a_process_dies_of_is_told_before_it_does(sentry: SentryServer, tmp_path: Path) -> None:
    config = Config(data_dir=str(tmp_path), sentry_dsn=sentry.dsn)
    try:
        raise RuntimeError(" ".join(("with", "a", "prompt")))
    except RuntimeError as error:
        tell_crash(config, "gateway-3", error)
    (event,) = sentry.events
    assert event["tags"] == {"process": "gateway-3"}
    assert event["exception"]["values"][0]["type"] == "RuntimeError"
    assert b"with a prompt" not in b"".join(sentry.raw)


def test_without_a_dsn_nobody_is_told(tmp_path: Path) -> None:
    teller = Teller(Config(data_dir=str(tmp_path)))
    teller.died("gateway 0", "SIGKILL")
    teller.close()
    tell_crash(Config(), "gateway-0", RuntimeError())


def test_a_sentry_that_is_away_stops_nobody(tmp_path: Path) -> None:
    teller = Teller(Config(data_dir=str(tmp_path), sentry_dsn="http://public@127.0.0.1:9/1"))
    for _ in range(1_000):
        teller.died("gateway 0", "SIGKILL")
    teller.close()
