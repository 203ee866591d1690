"""A vendor of OpenAI's shape that misbehaves as it is told, in a thread of its own; counts what it is asked."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "demo"}
WELL = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "demo",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "well"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
}


class BadVendor:
    """Behave by `mode`: well, hang, hang_midway, close_midway, garbage, busy."""

    def __init__(self) -> None:
        self.mode = "well"
        self.asked = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):  # its models
                    writer.write(_head(200, 12) + b'{"data": []}')
                    continue
                size = next(
                    int(line.partition(b":")[2])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                body = json.loads(await reader.readexactly(size))
                self.asked += 1
                if not await self._answer(writer, bool(body.get("stream"))):
                    break
        except (OSError, EOFError, StopIteration):
            pass
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, stream: bool) -> bool:
        """Answer once; False where the connection is to end."""
        mode = self.mode
        if mode == "hang":
            await asyncio.sleep(60)
        elif mode == "busy":
            body = b'{"error": {"message": "slow down", "type": "rate_limit_error", "code": "rate_limit_exceeded"}}'
            writer.write(_head(429, len(body), b"Retry-After: 2\r\n") + body)
        elif mode == "garbage":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n\xff\xfe{not}")
        elif stream:
            await self._stream(writer)
            return False
        elif mode == "close_midway":
            body = json.dumps(WELL).encode()
            writer.write(_head(200, len(body)) + body[:40])
            await writer.drain()
            return False
        elif mode == "hang_midway":
            body = json.dumps(WELL).encode()
            writer.write(_head(200, len(body)) + body[:40])
            await writer.drain()
            await asyncio.sleep(60)
        else:
            body = json.dumps(WELL).encode()
            writer.write(_head(200, len(body)) + body)
        await writer.drain()
        return True

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        writer.write(_event({"role": "assistant", "content": "half "}))
        await writer.drain()
        if self.mode == "hang_midway":
            await asyncio.sleep(60)
        if self.mode == "close_midway":
            return
        writer.write(_event({"content": "whole"}, "stop") + b"data: [DONE]\n\n")
        await writer.drain()


def _event(delta: dict[str, str], ends: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": ends}
    usage = {"usage": WELL["usage"]} if ends else {}
    return b"data: " + json.dumps({**_CHUNK, "choices": [choice], **usage}).encode() + b"\n\n"


def _head(status: int, size: int, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n" % (status, more, size)


@contextmanager
def bad_vendor() -> Iterator[BadVendor]:
    vendor, ready, loop = BadVendor(), threading.Event(), asyncio.new_event_loop()

    async def live() -> None:
        server = await asyncio.start_server(vendor.serve, "127.0.0.1", 0)
        vendor.port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await asyncio.Event().wait()

    def turn() -> None:
        asyncio.set_event_loop(loop)
        main = loop.create_task(live())
        try:
            loop.run_until_complete(main)
        except asyncio.CancelledError:
            rest = asyncio.all_tasks(loop)
            for task in rest:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        finally:
            loop.close()

    thread = threading.Thread(target=turn, name="bad vendor")
    thread.start()
    assert ready.wait(10)
    try:
        yield vendor
    finally:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        thread.join(10)
