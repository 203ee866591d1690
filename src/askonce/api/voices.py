"""In whose words a path speaks: errors, and what limited answers say, in the shape that its clients read."""

import math
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from msgspec import Struct

from askonce.api.replies import Headers
from askonce.api.requests import Request
from askonce.domain.errors import AskonceError
from askonce.domain.ports import Verdict, Window
from askonce.wire.anthropic_door import AnthropicError
from askonce.wire.anthropic_door import error_body as anthropic_error
from askonce.wire.native_answer import ErrorBody, error_body
from askonce.wire.openai_errors import OpenAIError, openai_error


class Voice(Struct, frozen=True):
    """Hold how a family of paths speaks.

    `body` describes what `error` writes. `limits` adds a vendor's own headers to ours. `passes` names request headers
    that providers of its shape get. `id_headers` are the reply's headers with the request's id: ours, which OpenAI's
    library reads too, and others that a vendor's library looks for.
    """

    prefix: str
    body: type[Struct]
    error: Callable[[AskonceError, str], bytes]
    limits: Callable[[Window, Verdict, int], Headers]
    passes: tuple[bytes, ...] = ()
    id_headers: tuple[bytes, ...] = (b"x-request-id",)


def _no_more(window: Window, verdict: Verdict, wall_ms: int) -> Headers:
    return []


def openai_limits(window: Window, verdict: Verdict, wall_ms: int) -> Headers:
    """Write OpenAI's headers (platform.openai.com, "Rate limits in headers"): the reset is a span such as `1m2s`."""
    seconds = math.ceil(verdict.reset_ns / 1e9)
    span = f"{seconds // 60}m{seconds % 60}s" if seconds >= 60 else f"{seconds}s"
    return [
        (b"x-ratelimit-limit-requests", b"%d" % window.limit),
        (b"x-ratelimit-remaining-requests", b"%d" % verdict.remaining),
        (b"x-ratelimit-reset-requests", span.encode()),
    ]


def anthropic_limits(window: Window, verdict: Verdict, wall_ms: int) -> Headers:
    """Write Anthropic's headers (docs.claude.com, "Rate limits"): the reset is a time, RFC 3339."""
    reset = datetime.fromtimestamp(math.ceil(wall_ms / 1000 + verdict.reset_ns / 1e9), UTC)
    return [
        (b"anthropic-ratelimit-requests-limit", b"%d" % window.limit),
        (b"anthropic-ratelimit-requests-remaining", b"%d" % verdict.remaining),
        (b"anthropic-ratelimit-requests-reset", reset.strftime("%Y-%m-%dT%H:%M:%SZ").encode()),
    ]


OURS = Voice("", ErrorBody, error_body, _no_more)
# Anthropic's "Errors", "Request id": its library's `_request_id` is the header `request-id`.
ANTHROPICS = Voice(
    "/v1/messages",
    AnthropicError,
    anthropic_error,
    anthropic_limits,
    passes=(b"anthropic-beta",),
    id_headers=(b"x-request-id", b"request-id"),
)
# The first whose prefix fits. Vendors' voices are added here as their shapes come.
VOICES: tuple[Voice, ...] = (
    ANTHROPICS,
    Voice("/v1/", OpenAIError, openai_error, openai_limits),
)


# Paths that OpenAI and Anthropic share, and the header that Anthropic's clients always send.
SHARED = "/v1/models"
VERSION_HEADER = b"anthropic-version"


def voice_of(path: str, headers: Collection[bytes] = ()) -> Voice:
    """Return the voice of a path; whatever is not a vendor's is ours. `headers` are the names of those that came."""
    if VERSION_HEADER in headers and path.startswith(SHARED):
        return ANTHROPICS
    return next((voice for voice in VOICES if path.startswith(voice.prefix)), OURS)


def id_headers(request: Request) -> Headers:
    """Return the headers that tell the request's id."""
    value = request.id.encode()
    return [(name, value) for name in voice_of(request.path, request.headers).id_headers]
