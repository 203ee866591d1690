"""Admit requests at doors that ask nobody: count them in their window, and say where their caller stands."""

from askonce.api.replies import Headers, limit_headers
from askonce.api.voices import Voice
from askonce.domain.clock import Clock
from askonce.domain.ports import Window, Windows
from askonce.gate.admission import OverLimit


async def enter(window: Window | None, windows: Windows, clock: Clock, voice: Voice) -> Headers:
    """Count one request; return what its window says, in ours and the voice's headers. Raises `OverLimit`."""
    if window is None:
        return []
    verdict = await windows.take(window)
    if not verdict.admitted:
        raise OverLimit("", window, verdict)
    now_ms = clock.wall_ms()
    return limit_headers(window, verdict, now_ms) + voice.limits(window, verdict, now_ms)
