"""A Sentry for tests: a real server on loopback that keeps the envelopes it gets."""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class SentryServer:
    """Take envelopes. `raw`: their bytes, decompressed; `events`: the events in them."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.raw.append(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def dsn(self) -> str:
        """Return what to set as SENTRY_DSN."""
        return f"http://public@127.0.0.1:{self._server.server_port}/42"

    @property
    def events(self) -> list[dict[str, Any]]:
        """Return the events so far (Sentry's envelope format: a header, then header and payload of each item)."""
        found = []
        for envelope in self.raw:
            lines = envelope.split(b"\n")[1:]
            for head, payload in zip(lines[::2], lines[1::2], strict=False):
                if json.loads(head)["type"] == "event":
                    found.append(json.loads(payload))
        return found

    def __enter__(self) -> "SentryServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
