"""Everything that can be refused or go wrong, as a closed set: one class per remedy.

A class holds its stable code, its HTTP status and its short title; an instance holds the sentence with the cure.
Sentences are public: they never hold a secret, a prompt or an internal detail.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from msgspec import Struct


class Detail(Struct, frozen=True):
    """Point at one field of a request and say what is wrong with it."""

    field: str
    problem: str


class AskonceError(Exception):
    """Refuse a request, or report a failure, in words that its caller may see."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False  # may another try (elsewhere, later) end differently?
    vendor_code = ""  # of the instance: the vendor's own word for what it refused,
    vendor_param = ""  # and the field that it names; "" where it has none

    def __init__(self, message: str, *, details: Sequence[Detail] = (), retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(details)
        self.retry_after_s = retry_after_s


class InternalError(AskonceError):
    """Report a defect of ours."""


class Malformed(AskonceError):
    """Refuse a body that is not JSON, not UTF-8, or nested too deep."""

    status, code, title = 400, "malformed_request", "Malformed request"


class Invalid(AskonceError):
    """Refuse a request whose fields are wrong; `details` names each."""

    status, code, title = 400, "invalid_request", "Invalid request"


class KeyReused(AskonceError):
    """Refuse an `Idempotency-Key` that its caller has used for another question."""

    status, code, title = 400, "idempotency_key_reused", "Idempotency key reused"


class MaxCostExceeded(AskonceError):
    """Refuse a call whose estimated cost is over the caller's `maxCost`, before anything is paid."""

    status, code, title = 400, "max_cost_exceeded", "Maximum cost exceeded"


class ContextExceeded(AskonceError):
    """Report that the prompt does not fit the model's context window."""

    status, code, title = 400, "context_window_exceeded", "Context window exceeded"


class ContentRefused(AskonceError):
    """Report that the vendor refused the content."""

    status, code, title = 400, "content_refused", "Content refused by the provider"


class ProviderRejected(AskonceError):
    """Report that the vendor found the request itself invalid (its 400, 413 or 422)."""

    status, code, title = 400, "provider_rejected_request", "Provider rejected the request"


class Unauthorized(AskonceError):
    """Refuse a caller without a key where one is needed, or with one that is not known."""

    status, code, title = 401, "unauthorized", "Unauthorized"


class Forbidden(AskonceError):
    """Refuse a known caller, a foreign Host or Origin, or an address that is not served."""

    status, code, title = 403, "forbidden", "Forbidden"


class NotFound(AskonceError):
    """Report that there is no such path or thing."""

    status, code, title = 404, "not_found", "Not found"


class UnknownModel(AskonceError):
    """Refuse a model that no provider has; the message names the nearest."""

    status, code, title = 404, "unknown_model", "Unknown model"


class CacheMiss(AskonceError):
    """Report that `only` was asked and nothing is stored."""

    status, code, title = 404, "cache_miss", "Not in the cache"


class WorkflowsOff(AskonceError):
    """Refuse workflows and jobs where the settings say that none are taken."""

    status, code, title = 404, "workflows_off", "Workflows are off"


class NotFinished(AskonceError):
    """Report that a job or a batch has no result yet."""

    status, code, title, retryable = 404, "not_finished", "Not finished", True


class MethodNotAllowed(AskonceError):
    """Refuse a method that the path does not have."""

    status, code, title = 405, "method_not_allowed", "Method not allowed"

    def __init__(self, message: str, allowed: Sequence[str]) -> None:
        super().__init__(message)
        self.allowed = tuple(allowed)


class BodyTimeout(AskonceError):
    """Give up on a body that did not arrive in time."""

    status, code, title = 408, "request_timeout", "Request timeout"


class NotResumable(AskonceError):
    """Refuse to resume an execution that neither failed nor was cancelled, or whose name is another one's by now."""

    status, code, title = 409, "not_resumable", "Not resumable"


class Cancelled(AskonceError):
    """Report that the work was cancelled, by its owner's wish, before it was done."""

    status, code, title = 409, "cancelled", "Cancelled"


class TooLarge(AskonceError):
    """Refuse a body over the limit."""

    status, code, title = 413, "body_too_large", "Body too large"


class UnsupportedMediaType(AskonceError):
    """Refuse a body that is not said to be JSON."""

    status, code, title = 415, "unsupported_media_type", "Unsupported media type"


class RateLimited(AskonceError):
    """Refuse a request that the window has no room for."""

    status, code, title = 429, "rate_limited", "Rate limit exceeded"


class OverBudget(AskonceError):
    """A budget of the key, its user or its tenant has no room for the call."""

    status, code, title = 429, "over_budget", "Budget used up"


class ProviderFailed(AskonceError):
    """Report a vendor's 5xx, a broken connection, an early end or an answer that makes no sense."""

    status, code, title, retryable = 502, "provider_error", "Provider error", True
    is_down = True  # of the instance False: the vendor is well, but its model spoiled this answer


class ProviderDenied(AskonceError):
    """Report that the vendor refused our own credentials (its 401 or 403)."""

    status, code, title = 502, "provider_auth_failed", "Provider refused our credentials"


class WorkFailed(AskonceError):
    """Report that a workflow or a job failed; `details` names the execution and each node that failed."""

    status, code, title = 502, "workflow_failed", "Workflow failed"


class ProviderBusy(AskonceError):
    """Report a vendor's 429."""

    status, code, title, retryable = 503, "provider_rate_limited", "Provider is rate limiting", True


class ProviderUnavailable(AskonceError):
    """Report that nobody was asked: the breaker is open, or every place at the providers is taken."""

    status, code, title, retryable = 503, "provider_unavailable", "Provider unavailable", True


class ProviderNotConfigured(AskonceError):
    """Refuse a provider without credentials; names the variable and a model that works now."""

    status, code, title = 503, "provider_not_configured", "Provider not configured"


class ModelLoading(AskonceError):
    """Report that the embedded model was still being fetched or loaded at the deadline."""

    status, code, title, retryable = 503, "model_loading", "Model is loading", True


class ModelUnavailable(AskonceError):
    """Report that the embedded model was given up or is switched off; says why."""

    status, code, title = 503, "model_unavailable", "Model unavailable"


class Draining(AskonceError):
    """Refuse new work because this process is stopping."""

    status, code, title, retryable = 503, "draining", "Shutting down", True


class StoreUnavailable(AskonceError):
    """Report that shared state could not be read; never answered with invented numbers."""

    status, code, title, retryable = 503, "store_unavailable", "State store unavailable", True


class DatabaseAway(AskonceError):
    """Report that the database of keys, reports and audit does not answer; answering questions goes on without it."""

    status, code, title, retryable = 503, "database_unavailable", "Database unavailable", True


class LoginUnavailable(AskonceError):
    """Report that the identity provider does not answer as it should."""

    status, code, title, retryable = 503, "login_unavailable", "Login unavailable", True


class FlightLost(AskonceError):
    """Tell a follower that already passed text on that the process that was asking died."""

    status, code, title, retryable = 502, "flight_lost", "The joined call was lost", True


class ProviderTimeout(AskonceError):
    """Report that the vendor was too slow (connect, first byte, idle or total)."""

    status, code, title, retryable = 504, "provider_timeout", "Provider timed out", True


@contextmanager
def unsent() -> Iterator[None]:
    """Mark every error in this block (a cancellation too): the provider was not asked yet, there is nothing to book."""
    try:
        yield
    except BaseException as error:
        error._askonce_unsent = True  # type: ignore[attr-defined]  # rides on whatever is raised, through all frames
        raise


def was_unsent(error: BaseException) -> bool:
    """Say whether the provider was never asked."""
    return getattr(error, "_askonce_unsent", False)


class ConfigError(Exception):
    """Refuse a configuration; names the key, the value and the cure. Raised before a port is opened."""


def _family(root: type[AskonceError]) -> dict[str, type[AskonceError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found |= _family(child)
    return found


# Every code that a caller may see; the docs list them from here.
BY_CODE: dict[str, type[AskonceError]] = _family(AskonceError)


def error_from_code(code: str, message: str, retry_after_s: int | None) -> AskonceError:
    """Make the error that another process described; one that is unknown here becomes an internal error."""
    kind = BY_CODE.get(code, InternalError)
    if kind is MethodNotAllowed:
        kind = InternalError
    return kind(message, retry_after_s=retry_after_s)
