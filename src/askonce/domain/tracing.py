"""W3C Trace Context (w3.org/TR/trace-context): which trace a request belongs to, and what is passed on of it.

A request that comes without a context gets one that follows from its id, so that every process, whenever it is asked,
knows the same trace and the same span of a request without keeping anything. So it is with the spans of work in the
background, which one process may begin and another one end.
"""

from collections.abc import Callable
from contextvars import ContextVar
from hashlib import blake2b

# What calls to providers send as `traceparent`; "" for nothing. Set by whoever makes an attempt.
outgoing: ContextVar[str] = ContextVar("askonce_traceparent", default="")

# Says what an attempt sends, by the request's id, its context (a valid `traceparent`, or "") and its trace, if known.
TraceOut = Callable[[str, str, str], str]


def untraced(request_id: str, traceparent: str, known: str) -> str:
    """Send nothing: tracing is off."""
    return ""


def trace_id(request_id: str, traceparent: str, known: str = "") -> str:
    """Return the trace (32 hex digits)."""
    return traceparent[3:35] or known or blake2b(request_id.encode(), digest_size=16).hexdigest()


def server_span_id(request_id: str) -> str:
    """Return the span of a request at its door (16 hex digits)."""
    return blake2b(request_id.encode(), digest_size=8, person=b"askonce span").hexdigest()


def work_span_id(execution: str, round: int, node: str = "") -> str:
    """Return the span of a round of an execution, or of one of its nodes (16 hex digits)."""
    name = f"{execution}.{round}/{node}" if node else f"{execution}.{round}"
    return blake2b(name.encode(), digest_size=8, person=b"askonce work").hexdigest()


def is_sampled(traceparent: str, trace: str, share: float) -> bool:
    """Say whether a trace is recorded: as the caller decided; else by the trace's id, so that all decide alike."""
    if traceparent:
        return bool(int(traceparent[53:55], 16) & 1)
    return int(trace[16:], 16) < share * 2**64
