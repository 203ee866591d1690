"""The yardstick: a plain ASGI app that parses the same JSON and returns the same bytes, and does nothing else.

usage: bare.py PORT REPLY.json   (REPLY.json: {"headers": [[name, value], ...], "body": text})
"""

import json
import sys
from typing import Any

import msgspec
import uvicorn

port = int(sys.argv[1])
with open(sys.argv[2]) as file:
    reply = json.load(file)
BODY = reply["body"].encode()
HEADERS = [(name.encode(), value.encode()) for name, value in reply["headers"]]
START = {"type": "http.response.start", "status": 200, "headers": HEADERS}
REST = {"type": "http.response.body", "body": BODY}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer everything alike."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if body:  # wrk leaves in the middle of its last request
        msgspec.json.decode(body)
    await send(START)
    await send(REST)


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        interface="asgi3",
        backlog=2048,
        timeout_keep_alive=75,
    )
