"""Google's errors, after AIP-193 and the Gemini API's "Troubleshooting guide" and "Rate limits"."""

import json

import pytest

from askonce.wire.gemini_errors import MAX_DELAY_S, Trouble, read_trouble


def error(code: int, status: str, *details: object) -> object:
    return {"error": {"code": code, "message": "No.", "status": status, "details": list(details)}}


INFO = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.074824224s"}


def quota(name: str) -> object:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name}]}


PER_DAY, PER_MINUTE = "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "GenerateRequestsPerMinutePerProjectPerModel"


@pytest.mark.parametrize(
    ("body", "trouble"),
    [
        (error(400, "INVALID_ARGUMENT", INFO), Trouble(400, "INVALID_ARGUMENT", frozenset({"API_KEY_INVALID"}))),
        (error(429, "RESOURCE_EXHAUSTED", RETRY), Trouble(429, "RESOURCE_EXHAUSTED", retry_after_s=35)),
        (
            error(429, "RESOURCE_EXHAUSTED", quota(PER_DAY), RETRY),
            Trouble(429, "RESOURCE_EXHAUSTED", retry_after_s=35, daily=True),
        ),
        (error(429, "RESOURCE_EXHAUSTED", quota(PER_MINUTE)), Trouble(429, "RESOURCE_EXHAUSTED")),
        ([error(503, "UNAVAILABLE")], Trouble(503, "UNAVAILABLE")),
        ({"error": {"code": 404, "status": "NOT_FOUND"}}, Trouble(404, "NOT_FOUND")),
        ({"error": {"code": "x", "status": 5, "details": "much"}}, Trouble()),
        (error(429, "X", {"retryDelay": "soon"}), Trouble(429, "X")),
        (error(429, "X", {"retryDelay": "nans"}), Trouble(429, "X")),
        (error(429, "X", {"retryDelay": "-1s"}), Trouble(429, "X", retry_after_s=0)),
        (error(429, "X", {"retryDelay": "1e9s"}), Trouble(429, "X", retry_after_s=MAX_DELAY_S)),
        (error(429, "X", {"violations": "all"}, {"violations": [3, {"quotaId": 4}]}), Trouble(429, "X")),
        ({"error": "text"}, None),
        ({}, None),
        ([], None),
        (None, None),
    ],
)
def test_troubles(body: object, trouble: Trouble | None) -> None:
    assert read_trouble(json.dumps(body).encode()) == trouble


@pytest.mark.parametrize("nonsense", [b"", b"<html>", b"\xff", b"[" * 100_000])
def test_what_is_no_error_body_says_nothing(nonsense: bytes) -> None:
    assert read_trouble(nonsense) is None
