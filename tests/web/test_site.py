"""The dashboard's files are served as they were built: pages for every path, assets for a year, nothing else."""

import gzip
from pathlib import Path

import pytest

from askonce.api.replies import Reply
from askonce.api.requests import Request
from askonce.domain.errors import NotFound
from askonce.web.site import ABSENT, Site


async def nothing() -> dict[str, object]:
    return {}


def request(**headers: str) -> Request:
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/ui/", "query_string": b"", "headers": sent}, nothing)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dist" / "assets").mkdir(parents=True)
    (tmp_path / "dist" / "index.html").write_text("<!doctype html><title>Askonce</title>" + " " * 200)
    (tmp_path / "dist" / "assets" / "app-1a2b.js").write_text("console.log(1);" * 50)
    (tmp_path / "secret").write_text("not for you")
    return tmp_path / "dist"


def header(reply: Reply, name: str) -> str:
    return dict(reply.headers).get(name.encode(), b"").decode()


@pytest.mark.parametrize(
    "path", ["", "requests", "requests/r-1", "index.html", "../secret", "..%2fsecret", "/etc/passwd"]
)
def test_every_path_is_a_page(folder: Path, path: str) -> None:
    reply = Site((folder,)).serve(request(), path)
    assert reply.status == 200
    assert b"<title>Askonce</title>" in reply.body
    assert header(reply, "cache-control") == "no-cache"
    assert "script-src 'self'" in header(reply, "content-security-policy")


def test_assets_are_kept_for_a_year_and_compressed_for_who_can_read_that(folder: Path) -> None:
    site = Site((folder,))
    plain, packed = (site.serve(one, "assets/app-1a2b.js") for one in (request(), request(accept_encoding="br, gzip")))
    assert header(plain, "content-type") == "text/javascript; charset=utf-8"
    assert header(plain, "cache-control") == "public, max-age=31536000, immutable"
    assert header(packed, "content-encoding") == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body)


@pytest.mark.parametrize("path", ["assets/other.js", "assets/../../secret", "assets/"])
def test_an_asset_that_is_not_there_is_told(folder: Path, path: str) -> None:
    with pytest.raises(NotFound, match="Load the page anew"):
        Site((folder,)).serve(request(), path)


def test_who_has_it_already_gets_nothing(folder: Path) -> None:
    site = Site((folder,))
    etag = header(site.serve(request(), ""), "etag")
    assert site.serve(request(if_none_match=f'"x", W/{etag}'), "").status == 304
    assert site.serve(request(if_none_match='"x"'), "").status == 200


def test_links_out_of_the_folder_are_not_followed(folder: Path) -> None:
    (folder / "assets" / "out.txt").symlink_to(folder.parent / "secret")
    with pytest.raises(NotFound):
        Site((folder,)).serve(request(), "assets/out.txt")


def test_without_a_build_it_says_how_to_make_one(tmp_path: Path) -> None:
    site = Site((tmp_path,))
    assert not site.is_there
    with pytest.raises(NotFound) as told:
        site.serve(request(), "")
    assert str(told.value) == ABSENT
