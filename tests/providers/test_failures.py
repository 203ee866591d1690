"""Error bodies are written after each vendor's documentation or source, which the case names; none is a recording."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.domain.errors import (
    AskonceError,
    ContentRefused,
    ContextExceeded,
    ModelLoading,
    ProviderBusy,
    ProviderDenied,
    ProviderFailed,
    ProviderRejected,
    UnknownModel,
)
from askonce.providers.failures import BUSY_WAIT_S, MAX_WORDS, QUOTA_WAIT_S, Refusal, failure, redact

KEY = "sk-proj-A1b2C3d4E5f6G7h8I9j0"


def openai(message: str = "", code: str | int | None = None, kind: str = "invalid_request_error") -> object:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def refused(status: int, body: object, wait: int | None = None) -> AskonceError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return failure(Refusal("Vendor", "the-model", status, data, KEY, wait))


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        # The prompt is too long.
        (
            400,
            openai("This model's maximum context length is 8192 tokens.", "context_length_exceeded"),
            ContextExceeded,
        ),
        (
            400,
            {
                "error": {
                    "code": 400,
                    "message": "the request exceeds the available context size",
                    "type": "exceed_context_size_error",
                    "n_prompt_tokens": 9,
                    "n_ctx": 8,
                }
            },
            ContextExceeded,
        ),  # llama.cpp
        (400, openai("This endpoint's maximum context length is 8192 tokens", 400), ContextExceeded),  # OpenRouter
        (
            400,
            {
                "object": "error",
                "message": "This model's maximum context length is 8 tokens",
                "type": "BadRequestError",
                "code": 400,
            },
            ContextExceeded,
        ),  # vLLM
        (
            400,
            [
                {
                    "error": {
                        "code": 400,
                        "message": "The input token count (9) exceeds the maximum number of tokens allowed (8).",
                        "status": "INVALID_ARGUMENT",
                    }
                }
            ],
            ContextExceeded,
        ),  # Gemini
        (422, {"error": {"message": "too many tokens: 9 > 8"}}, ContextExceeded),
        # The content.
        (400, openai("Your request was rejected.", "content_policy_violation"), ContentRefused),
        (
            400,
            {
                "error": {
                    "code": "content_filter",
                    "message": "The response was filtered due to Azure's content management policy.",
                    "innererror": {"code": "ResponsibleAIPolicyViolation"},
                }
            },
            ContentRefused,
        ),  # Azure
        (
            403,
            {
                "error": {
                    "code": 403,
                    "message": "Input was flagged",
                    "metadata": {"reasons": ["violence"], "flagged_input": "x"},
                }
            },
            ContentRefused,
        ),  # OpenRouter
        # The model.
        (404, openai("The model `x` does not exist or you do not have access to it.", "model_not_found"), UnknownModel),
        (404, {"error": "model 'x' not found, try pulling it first"}, UnknownModel),  # Ollama, older
        (
            400,
            {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"},
            UnknownModel,
        ),  # Mistral
        (
            404,
            {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404},
            UnknownModel,
        ),  # vLLM
        (
            404,
            {"code": "Some requested entity was not found", "error": "The model x does not exist"},
            UnknownModel,
        ),  # xAI
        # Our credentials.
        (401, openai(f"Incorrect API key provided: {KEY}.", "invalid_api_key"), ProviderDenied),
        (403, openai("Country not supported", "unsupported_country_region_territory"), ProviderDenied),
        (401, b"", ProviderDenied),
        (402, {"error": {"code": 402, "message": "Insufficient credits"}}, ProviderDenied),  # OpenRouter, DeepSeek
        # Too much, too soon.
        (429, openai("Rate limit reached", "rate_limit_exceeded", "tokens"), ProviderBusy),
        (429, openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota"), ProviderBusy),
        (429, b"slow down", ProviderBusy),
        (408, b"", ProviderBusy),
        (409, openai("conflict"), ProviderBusy),
        # The request itself.
        (400, openai("Unsupported value: 'temperature'", "unsupported_value"), ProviderRejected),
        (413, openai("Request too large", "rate_limit_exceeded"), ProviderRejected),
        (422, {"detail": [{"loc": ["body", "n"], "msg": "extra fields not permitted"}]}, ProviderRejected),  # Mistral
        (422, {"detail": "no such field"}, ProviderRejected),
        (400, b"nonsense", ProviderRejected),
        # The vendor.
        (404, b"<html>nginx</html>", ProviderFailed),
        (405, b"", ProviderFailed),
        (302, b"", ProviderFailed),
        (500, openai("The server had an error", None, "server_error"), ProviderFailed),
        (502, b"<html>bad gateway</html>", ProviderFailed),
        (529, {"error": {"message": "overloaded"}}, ProviderFailed),
        (204, b"", ProviderFailed),
        (
            503,
            {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
            ModelLoading,
        ),  # llama.cpp
    ],
)
def test_each_refusal_has_its_error(status: int, body: object, expected: type[AskonceError]) -> None:
    error = refused(status, body)
    assert type(error) is expected
    assert KEY not in error.message
    assert error.message.endswith(".")


def test_retry_after_travels_and_has_a_default() -> None:
    assert refused(429, b"", 17).retry_after_s == 17
    assert refused(429, b"", 0).retry_after_s == 0
    assert refused(429, b"").retry_after_s == BUSY_WAIT_S
    assert refused(429, openai("", "insufficient_quota")).retry_after_s == QUOTA_WAIT_S
    assert refused(503, b"", 9).retry_after_s == 9
    assert refused(500, b"").retry_after_s is None


def test_the_vendors_words_are_passed_on_shortened_and_clean() -> None:
    assert refused(400, openai("Bad\r\n  thing\x1b[31m.")).message == "Vendor rejected the request: Bad thing [31m."
    long = refused(400, openai("word " * 1000)).message
    assert len(long) < MAX_WORDS + 60
    assert "…" in long[-3:]


def test_nothing_of_the_vendors_words_is_told_about_our_key() -> None:
    message = refused(401, openai("Key abc belongs to org-Secret of Jane")).message
    assert "Jane" not in message
    assert "check its API key" in message


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"Incorrect API key provided: {KEY}", "Incorrect API key provided: [key]"),
        ("provided: sk-proj-********************I9j0.", "provided: [key]."),
        ("key C3d4E5f6 is bad", "key [key] is bad"),
        ("keys gsk_abcdefghij and xai-0123456789 and AIzaSyA1234567890", "keys [key] and [key] and [key]"),
        ("nothing to hide in sk or key", "nothing to hide in sk or key"),
    ],
)
def test_keys_and_their_fragments_are_struck_out(text: str, clean: str) -> None:
    assert redact(text, KEY) == clean


@given(st.text(max_size=40), st.integers(0, len(KEY) - 8), st.integers(8, len(KEY)), st.text(max_size=40))
def test_no_fragment_of_our_key_gets_out(before: str, begin: int, size: int, after: str) -> None:
    fragment = KEY[begin : begin + size]
    assert fragment not in redact(f"{before} {fragment} {after}", KEY)


@given(st.integers(300, 599), st.binary(max_size=60))
def test_any_refusal_has_an_error(status: int, body: bytes) -> None:
    assert isinstance(failure(Refusal("Vendor", "m", status, body)), AskonceError)


def test_the_vendors_own_words_for_what_it_rejected_are_kept() -> None:
    # OpenAI's "Error codes": `param` and `code` of the error object.
    body = {"error": {"message": "No.", "type": "invalid_request_error", "param": "top_k", "code": "unknown_parameter"}}
    error = refused(400, body)
    assert (error.vendor_code, error.vendor_param) == ("unknown_parameter", "top_k")


@pytest.mark.parametrize(
    ("status", "code", "param"),
    [
        (400, None, None),
        (400, 400, 7),  # Gemini's code is a number
        (400, "x" * 101, "a\nb"),
        (401, "invalid_api_key", "key"),  # about our key: nobody else's business
        (429, "insufficient_quota", "key"),
    ],
)
def test_words_that_are_no_words_about_the_request_are_not(status: int, code: object, param: object) -> None:
    error = refused(status, {"error": {"message": "No.", "code": code, "param": param}})
    assert (error.vendor_code, error.vendor_param) == ("", "")


def test_a_key_in_the_vendors_words_is_struck_out() -> None:
    error = refused(400, {"error": {"message": "No.", "code": KEY, "param": KEY}})
    assert (error.vendor_code, error.vendor_param) == ("[key]", "[key]")
