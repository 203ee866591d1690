"""What a model writes does not steer the terminal that shows it."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.cli.terminal import harmless

# Recolour, set the clipboard (OSC 52), the same by one C1 letter, ring, go back and overwrite, delete.
WICKED = "a\x1b[31mb\x1b]52;c;cm0=\x07c\x9b2Jd\re\x7f\x00\x08\n\tf"


def test_only_line_feed_and_tab_steer() -> None:
    assert harmless(WICKED) == "a[31mb]52;c;cm0=c2Jde\n\tf"


@given(st.text())
def test_nothing_else_is_changed(text: str) -> None:
    shown = harmless(text)
    assert all(letter in "\n\t" or not (ord(letter) < 32 or 127 <= ord(letter) < 160) for letter in shown)
    assert harmless(shown) == shown
    if text.isprintable():
        assert shown == text


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        text = "".join(f"\\u{ord(letter):04x}" for letter in WICKED)
        events = f'event: delta\ndata: {{"text": "{text}"}}\n\nevent: done\ndata: {{"code": "{text}"}}\n\n'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(events)))
        self.end_headers()
        self.wfile.write(events)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_ask_shows_a_terminal_harmless_text_only_and_a_pipe_everything(tmp_path: Path, options: list[str]) -> None:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        command = [sys.executable, "-m", "askonce", "ask", "q", "--url", f"http://127.0.0.1:{server.server_port}"]
        environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONIOENCODING": "utf-8"}
        ours, theirs = os.openpty()
        try:
            shown = subprocess.run(
                [*command, *options], stdout=theirs, stderr=subprocess.PIPE, env=environ, cwd=tmp_path, timeout=60
            )
            seen = os.read(ours, 65536).decode()
            piped = subprocess.run([*command, *options], capture_output=True, env=environ, cwd=tmp_path, timeout=60)
        finally:
            os.close(ours)
            os.close(theirs)
            server.shutdown()
            thread.join()
    assert shown.returncode == piped.returncode == 0, shown.stderr
    assert not {"\x1b", "\x9b", "\x07", "\x7f"} & set(seen)
    assert "[31m" in seen
    assert "\x9b" in piped.stdout.decode()
