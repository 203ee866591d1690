"""Errors in OpenAI's shape keep what the vendor said of the request."""

import json
from typing import Any

import pytest

from askonce.domain.errors import AskonceError, ContextExceeded, Detail, Invalid, ProviderRejected
from askonce.wire.openai_errors import openai_error


def told(error: AskonceError, code: str = "", param: str = "") -> Any:
    error.vendor_code, error.vendor_param = code, param
    return json.loads(openai_error(error))["error"]


@pytest.mark.parametrize(
    ("error", "code", "param"),
    [
        (ProviderRejected("no"), "unknown_parameter", "top_k"),
        (ContextExceeded("no"), "context_length_exceeded", "top_k"),  # OpenAI's word, whoever was asked
        (Invalid("no", details=[Detail("seed", "is wrong")]), "invalid_request", "seed"),
    ],
)
def test_the_vendors_code_and_field_are_told_where_it_rejected_the_request(
    error: AskonceError, code: str, param: str
) -> None:
    said = told(error, "unknown_parameter", "top_k")
    assert (said["code"], said["param"]) == (code, param)


def test_without_the_vendors_words_ours_stand() -> None:
    said = told(ProviderRejected("no"))
    assert (said["code"], said["param"]) == ("provider_rejected_request", None)
