import json

import pytest

from askonce.domain.call import Candidate
from askonce.routing.explain import explanation, header
from askonce.routing.route import Considered, Route, Tried

A, B, C = Candidate("openai", "gpt-4o"), Candidate("groq", "fast"), Candidate("mistral", "x")
ROUTE = Route("heuristic", (A, B), (Considered(A, 0.81239), Considered(B), Considered(C, skipped="lacks vision")))


def test_the_decision_is_told_with_its_attempts() -> None:
    tried = [Tried(A, 2, 35, "provider_error"), Tried(B, 1, 800)]
    assert json.loads(explanation(ROUTE, B, tried, 1_500_000)) == {
        "mode": "heuristic",
        "chosen": "groq:fast",
        "candidates": [
            {"provider": "openai", "model": "gpt-4o", "score": 0.812},
            {"provider": "groq", "model": "fast"},
            {"provider": "mistral", "model": "x", "skipped": "lacks vision"},
        ],
        "attempts": [
            {"provider": "openai", "model": "gpt-4o", "tookMs": 35, "key": 2, "error": "provider_error"},
            {"provider": "groq", "model": "fast", "tookMs": 800},
        ],
        "warnings": ["The call cost $0.001500, which is over maxCost."],
    }


def test_a_stored_answer_took_no_attempts_and_what_others_did_is_not_made_up() -> None:
    assert json.loads(explanation(ROUTE, A, (), None))["attempts"] == []
    assert "attempts" not in json.loads(explanation(ROUTE, A, None, None))


@pytest.mark.parametrize(
    ("candidate", "attempts", "value"),
    [
        (A, 2, b"openai:gpt-4o; attempts=2"),
        (A, None, b"openai:gpt-4o"),
        (Candidate("groq", "openai/gpt-oss-120b"), 0, b"groq:openai/gpt-oss-120b; attempts=0"),
        (Candidate("v", 'a\r\nSet-Cookie: x; "é"'), 1, b"v:a%0D%0ASet-Cookie:%20x%3B%20%22%C3%A9%22; attempts=1"),
    ],
)
def test_the_header_holds_nothing_but_what_a_header_can_hold(
    candidate: Candidate, attempts: int | None, value: bytes
) -> None:
    assert header(candidate, attempts) == value
