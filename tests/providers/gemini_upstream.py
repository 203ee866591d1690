"""Plays in Gemini's shape for `upstream.Upstream`, after Google's "Gemini API reference", `GenerateContentResponse`."""

import asyncio
import json
from typing import Any

from tests.providers.upstream import Exchange, Play

COUNTS = {"promptTokenCount": 9, "candidatesTokenCount": 3, "thoughtsTokenCount": 5, "totalTokenCount": 17}


def response(*parts: dict[str, Any], finish: str | None = "STOP", **more: Any) -> dict[str, Any]:
    """Build a response, whole or with what is new in a stream."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "usageMetadata": COUNTS, "modelVersion": "gemini-3.5-flash-001"} | more


def events(*responses: dict[str, Any], politely: bool = True) -> Play:
    """Play a stream as `alt=sse` gives it: no last word, only its end."""

    async def play(exchange: Exchange) -> None:
        exchange.open_stream()
        for one in responses:
            exchange.chunk(b"data: " + json.dumps(one).encode() + b"\r\n\r\n")
        await asyncio.sleep(0)
        if politely:
            exchange.close_stream()
        else:
            exchange.cut()

    return play
