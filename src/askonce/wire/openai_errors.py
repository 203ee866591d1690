"""Errors in OpenAI's shape (API reference, "Error codes"): what its clients look at to tell one remedy from another.

`code` is OpenAI's word where it has one, else ours; `type` follows the status; `param` is the first field that is
wrong. Where the vendor that was asked rejected the request, both are that vendor's own, if it gave any; Anthropic's
shape has no room for them. The request id travels in the header `x-request-id`, as OpenAI's does.
"""

import msgspec
from msgspec import Struct

from askonce.domain.errors import AskonceError, ProviderRejected

_CODES = {
    "context_window_exceeded": "context_length_exceeded",
    "content_refused": "content_policy_violation",
    "unauthorized": "invalid_api_key",
    "unknown_model": "model_not_found",
    "rate_limited": "rate_limit_exceeded",
}
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class ErrorFields(Struct, frozen=True):
    """Hold what went wrong."""

    message: str
    type: str
    param: str | None
    code: str


class OpenAIError(Struct, frozen=True):
    """Hold the error that `/v1/*` answers with."""

    error: ErrorFields


def openai_error(error: AskonceError, request_id: str = "") -> bytes:
    """Return the JSON body of an error; also the data of the last event of a stream that broke."""
    kind = _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
    param = error.details[0].field if error.details else error.vendor_param or None
    code = _CODES.get(error.code, error.code)
    if isinstance(error, ProviderRejected):
        code = error.vendor_code or code
    return msgspec.json.encode(OpenAIError(ErrorFields(error.message, kind, param, code)))
