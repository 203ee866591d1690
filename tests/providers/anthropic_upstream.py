"""Plays in Anthropic's shape for `upstream.Upstream`: messages, and streams event by event.

Shapes: Anthropic's API reference, "Messages", and its guide "Streaming messages".
"""

import json
from collections.abc import Sequence
from typing import Any

from tests.providers.upstream import Exchange, Play, reply

MODEL = "claude-haiku-4-5-20251001"
USAGE = {"input_tokens": 9, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 3}
Json = dict[str, Any]


def text_block(text: str) -> Json:
    """Build a text block."""
    return {"type": "text", "text": text}


def tool_block(call_id: str, name: str, given: Json) -> Json:
    """Build a tool call."""
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}


def message(*blocks: Json, stop: str = "end_turn", **fields: Any) -> Json:
    """Build a whole message."""
    return {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": list(blocks),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": USAGE,
    } | fields


def answer(*blocks: Json, stop: str = "end_turn", **fields: Any) -> Play:
    """Play a whole message."""
    return reply(200, message(*(blocks or (text_block("Hello"),)), stop=stop, **fields))


def failure(status: int, kind: str, said: str = "no") -> Play:
    """Play an error."""
    body = {"type": "error", "error": {"type": kind, "message": said}, "request_id": "req_1"}
    return reply(status, body)


def events_of(whole: Json, pieces: int = 2) -> list[Json]:
    """Cut a message into the events of its stream, each text in so many pieces."""
    begun = whole | {"content": [], "stop_reason": None, "usage": whole["usage"] | {"output_tokens": 1}}
    events: list[Json] = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    for index, block in enumerate(whole["content"]):
        empty, deltas = _cut(block, pieces)
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": whole["stop_sequence"]}
    events.append(
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": whole["usage"]["output_tokens"]}}
    )
    return [*events, {"type": "message_stop"}]


def _cut(block: Json, pieces: int) -> tuple[Json, list[Json]]:
    kind = block["type"]
    if kind == "text":
        cited = [{"type": "citations_delta", "citation": citation} for citation in block.get("citations") or ()]
        empty: Json = {"type": "text", "text": ""} | ({"citations": []} if cited else {})
        return empty, [{"type": "text_delta", "text": cut} for cut in _split(block["text"], pieces)] + cited
    if kind == "thinking":
        deltas: list[Json] = [{"type": "thinking_delta", "thinking": cut} for cut in _split(block["thinking"], pieces)]
        signed = {"type": "signature_delta", "signature": block["signature"]}
        return {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signed]
    if kind in ("tool_use", "server_tool_use"):
        written = json.dumps(block["input"]) if block["input"] else ""
        deltas = [{"type": "input_json_delta", "partial_json": cut} for cut in ["", *_split(written, pieces)]]
        return block | {"input": {}}, deltas
    return block, []


def _split(text: str, pieces: int) -> Sequence[str]:
    size = max(1, -(-len(text) // pieces))
    return [text[at : at + size] for at in range(0, len(text), size)]


def sent(event: Json) -> bytes:
    """Write one event as it goes over the wire."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def stream(*blocks: Json, stop: str = "end_turn", **fields: Any) -> Play:
    """Play a message as a stream."""
    return play_events(events_of(message(*(blocks or (text_block("Hello"),)), stop=stop, **fields)))


def play_events(events: Sequence[Json], *, cut: bool = False) -> Play:
    """Play events; `cut` breaks the connection off after them."""

    async def play(exchange: Exchange) -> None:
        exchange.open_stream()
        for event in events:
            exchange.chunk(sent(event))
        if cut:
            exchange.cut()
        else:
            exchange.close_stream()

    return play


def both(*blocks: Json, stop: str = "end_turn", **fields: Any) -> Play:
    """Play the same message whole or as a stream, as it is asked for."""

    async def play(exchange: Exchange) -> None:
        way = stream if exchange.seen.json.get("stream") else answer
        await way(*blocks, stop=stop, **fields)(exchange)

    return play
