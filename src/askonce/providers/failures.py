"""What a vendor's refusal means to us: its status and error body become one error of the closed set. Pure.

Error bodies in the wild: OpenAI and most others `{"error": {"message", "type", "code", "param"}}`; Ollama
`{"error": "text"}`; xAI `{"code": "text", "error": "text"}`; Mistral `{"object": "error", "message", "type", "code"}`;
Gemini the OpenAI shape inside a list; FastAPI servers (vLLM, Mistral's 422) `{"detail": ...}`.
Vendors quote keys in their sentences, whole or in part: what looks like one is struck out before anybody sees it.
"""

import re

import msgspec
from msgspec import Struct

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

MAX_WORDS = 300  # characters of a vendor's sentence that we pass on; longer ones quote the request
BUSY_WAIT_S = 5  # where a vendor names no time: about a token bucket's refill
QUOTA_WAIT_S = 3600  # a used-up quota does not come back by waiting a little

_CONTEXT_CODES = {"context_length_exceeded", "exceed_context_size_error", "context_window_exceeded"}
_CONTEXT_WORDS = re.compile(
    r"maximum context length|context (?:length|window|size)|prompt is too long|too many tokens"
    r"|maximum prompt length|input token count .* exceeds",
    re.IGNORECASE,
)
_CONTENT_CODES = {
    "content_filter",  # Azure, OpenAI
    "content_policy_violation",
    "responsibleaipolicyviolation",
    "moderation_blocked",
    "data_inspection_failed",  # Alibaba
    "flagged_input",  # OpenRouter's metadata
}
_MODEL_CODES = {"model_not_found", "invalid_model", "model_not_available", "unknown_model"}
_MODEL_WORDS = re.compile(
    r"\bmodel\b.*(?:not (?:found|exist|available|supported)|does not exist|unknown)", re.IGNORECASE
)


class Refusal(Struct, frozen=True):
    """Hold a reply that is not an answer. `who` names the provider, `model` what was asked, `key` our credentials."""

    who: str
    model: str
    status: int
    body: bytes
    key: str = ""
    retry_after_s: int | None = None


class _Words(Struct, frozen=True):
    message: str
    codes: frozenset[str]
    code: str = ""  # as it came
    param: str = ""


def failure(refusal: Refusal) -> AskonceError:
    """Choose the error for a refusal: first by what the vendor says, then by its status."""
    words = _read(refusal.body)
    said = _quote(words.message, refusal.key)
    if 400 <= refusal.status < 500:
        error = _by_words(refusal, words, said) or _by_status(refusal, said)
        if error.status == 400:  # the request is to blame; all else is between the vendor and us
            error.vendor_code, error.vendor_param = _word(words.code, refusal.key), _word(words.param, refusal.key)
        return error
    if refusal.status == 503 and "loading model" in words.message.lower():  # llama.cpp while it reads its weights
        return ModelLoading(f"{refusal.who} is still loading its model.", retry_after_s=refusal.retry_after_s or 1)
    if 300 <= refusal.status < 400:
        return ProviderFailed(f"{refusal.who} answered with a redirect, which is not followed: check its base URL.")
    return ProviderFailed(
        f"{refusal.who} failed with status {refusal.status}{said} Ask again later, or ask another model.",
        retry_after_s=refusal.retry_after_s,
    )


def _by_words(refusal: Refusal, words: _Words, said: str) -> AskonceError | None:
    who, model, status = refusal.who, refusal.model, refusal.status
    if status in (401, 429):
        return None
    if words.codes & _CONTENT_CODES or "content management policy" in words.message.lower():
        return ContentRefused(f"{who} refused the content{said}")
    if status == 403:
        return None
    if words.codes & _CONTEXT_CODES or (status in (400, 413, 422) and _CONTEXT_WORDS.search(words.message)):
        return ContextExceeded(f"The prompt does not fit the context window of {model}{said} Shorten the prompt.")
    if words.codes & _MODEL_CODES or (status in (400, 404) and _MODEL_WORDS.search(words.message)):
        return UnknownModel(f"{who} has no model {model!r}{said}")
    return None


def _by_status(refusal: Refusal, said: str) -> AskonceError:
    who, status, wait = refusal.who, refusal.status, refusal.retry_after_s
    if status in (401, 403):
        # Nothing of the vendor's sentence: it is about our key.
        return ProviderDenied(f"{who} refused our credentials (status {status}): check its API key.")
    if status == 402:
        return ProviderDenied(f"{who} has no credit left for its API key. Add some there, or ask another model.")
    if status == 429 and _is_quota(refusal.body):
        return ProviderBusy(
            f"{who} says that the quota of its API key is used up. Raise it there, or ask another model.",
            retry_after_s=wait or QUOTA_WAIT_S,
        )
    if status in (408, 409, 425, 429):
        wait = BUSY_WAIT_S if wait is None else wait
        return ProviderBusy(
            f"{who} is rate limiting us. Ask again in {wait} s, or ask another model.", retry_after_s=wait
        )
    if status in (404, 405):
        return ProviderFailed(f"{who} has no such door (status {status}): check its base URL.")
    return ProviderRejected(f"{who} rejected the request{said}")


def _is_quota(body: bytes) -> bool:
    return bool(_read(body).codes & {"insufficient_quota", "billing_hard_limit_reached"})


def _read(body: bytes) -> _Words:
    """Find the sentence and the codes in any of the shapes named at the head of this file."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _Words("", frozenset())
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return _Words("", frozenset())
    inner = value.get("error")
    source = inner if isinstance(inner, dict) else value
    codes = [source.get("code"), source.get("type"), value.get("code"), *_nested(source)]
    message = next((m for m in (source.get("message"), inner, value.get("detail")) if isinstance(m, str)), "")
    own = [value if isinstance(value, str) else "" for value in (source.get("code"), source.get("param"))]
    return _Words(message, frozenset(code.lower() for code in codes if isinstance(code, str)), *own)


def _nested(source: dict[str, object]) -> list[object]:
    """Collect codes that stand deeper: Azure's `innererror.code`, OpenRouter's `metadata.flagged_input`."""
    inner, metadata = source.get("innererror"), source.get("metadata")
    found: list[object] = [inner.get("code")] if isinstance(inner, dict) else []
    if isinstance(metadata, dict) and "flagged_input" in metadata:
        found.append("flagged_input")
    return found


MAX_WORD = 100  # characters of a vendor's code, and of the name of a field


def _word(word: str, key: str) -> str:
    """Return a vendor's code or name of a field as it may be seen; "" for what is no such thing."""
    return redact(word, key) if len(word) <= MAX_WORD and word.isprintable() else ""


def _quote(message: str, key: str) -> str:
    """Write a vendor's sentence behind ours: cleaned, shortened, without anything that looks like a key."""
    clean = " ".join(redact("".join(c if c.isprintable() else " " for c in message), key).split())
    if not clean:
        return "."
    return f": {clean[:MAX_WORDS].rstrip('.')}{'…' if len(clean) > MAX_WORDS else '.'}"


# Words with a vendor's key prefix, and words that were masked by the vendor (`sk-ab***yz`).
_KEYLIKE = re.compile(
    r"\b(?:sk|pk|gsk|xai|csk|fw|tgp|key|AIza)[-_][\w*•…-]{6,}|[\w-]*(?:\*{2,}|•{2,})[\w*•-]*|\bAIza\w{8,}"
)
MIN_FRAGMENT = 6  # shorter pieces of a key are ordinary words too often


def redact(text: str, key: str) -> str:
    """Strike out the key, its fragments of at least `MIN_FRAGMENT` characters, and all that looks like a key."""
    if key:
        text = text.replace(key, "[key]")
    text = _KEYLIKE.sub("[key]", text)
    return re.sub(rf"[\w-]{{{MIN_FRAGMENT},}}", lambda word: "[key]" if word[0] in key else word[0], text)
