"""Serve the built dashboard: read once into memory, compressed once, and nothing outside of its folder.

Assets have the hash of their content in their names and are kept for a year; every other path is one of the pages,
which are all the same file: the script in it looks at the address. The policy allows what that file needs and no more:
no script, style or request of anybody else's.
"""

import gzip
import hashlib
import mimetypes
from pathlib import Path

from msgspec import Struct

from askonce.api.replies import Headers, Reply
from askonce.api.requests import Request
from askonce.domain.errors import NotFound

# In the wheel beside this file; in a checkout where the build leaves it.
PLACES = (Path(__file__).parent / "dist", Path(__file__).parents[3] / "dashboard" / "dist")
INDEX = "index.html"
ASSETS = "assets/"
FILES_MAX, FILE_MAX = 1_000, 8 << 20  # of a build; a folder that holds more is none
ABSENT = "The dashboard was not built here. `make dashboard` builds it from a checkout; the API works without it."
NOTHING = "There is no such file in the dashboard. Load the page anew: it may have been updated."

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_COMPRESSED = frozenset({".html", ".js", ".css", ".svg", ".json", ".map", ".txt"})
_TYPES = {".js": "text/javascript", ".svg": "image/svg+xml", ".woff2": "font/woff2"}


class File(Struct, frozen=True):
    """Hold one file as it is sent; `packed` is empty where compressing it is no use."""

    body: bytes
    packed: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    etag: bytes


class Site:
    """Serve a build; where there is none, say how to make it."""

    def __init__(self, places: tuple[Path, ...] = PLACES) -> None:
        self._places = places
        self._files: dict[str, File] | None = None

    @property
    def is_there(self) -> bool:
        """Say whether there is a build."""
        return INDEX in self._read()

    def serve(self, request: Request, path: str) -> Reply:
        """Answer for a path below /ui/. Raises `NotFound`."""
        files = self._read()
        if INDEX not in files:
            raise NotFound(ABSENT)
        found = files.get(path)
        if found is None:
            if path.startswith(ASSETS):
                raise NotFound(NOTHING)
            found = files[INDEX]
        headers: Headers = list(found.headers)
        if _matches(request.text(b"if-none-match"), found.etag):
            return Reply(304, headers, b"")
        if found.packed and "gzip" in (request.text(b"accept-encoding") or ""):
            return Reply(200, [*headers, (b"content-encoding", b"gzip")], found.packed)
        return Reply(200, headers, found.body)

    def _read(self) -> dict[str, File]:
        if self._files is None:
            folder = next((place for place in self._places if (place / INDEX).is_file()), None)
            self._files = {} if folder is None else _files(folder)
        return self._files


def _files(folder: Path) -> dict[str, File]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    found = {}
    for path in paths[:FILES_MAX]:
        body = path.read_bytes()
        if len(body) <= FILE_MAX:
            name = path.relative_to(folder).as_posix()
            found[name] = _file(name, body)
    return found


def _file(name: str, body: bytes) -> File:
    suffix = Path(name).suffix
    kind = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    text = "; charset=utf-8" if kind.startswith("text/") else ""
    packed = gzip.compress(body, 9, mtime=0) if suffix in _COMPRESSED else b""
    etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'.encode()
    kept = b"public, max-age=31536000, immutable" if name.startswith(ASSETS) else b"no-cache"
    headers = [
        (b"content-type", f"{kind}{text}".encode()),
        (b"cache-control", kept),
        (b"etag", etag),
        (b"vary", b"accept-encoding"),
    ]
    if suffix == ".html":
        headers.append((b"content-security-policy", _POLICY.encode()))
    return File(body, packed if len(packed) < len(body) else b"", tuple(headers), etag)


def _matches(sent: str | None, etag: bytes) -> bool:
    """Say whether the client has it already (RFC 9110, 13.1.2); a weak match will do."""
    if sent is None:
        return False
    known = {one.strip().removeprefix("W/") for one in sent.split(",")}
    return etag.decode() in known or "*" in known
