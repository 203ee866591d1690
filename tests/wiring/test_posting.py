"""What jobs named is posted to: hosts that were named wherever they stand, others on the public internet only."""

import asyncio
import socket
from typing import Any

import pytest
from tests.providers.upstream import Play, Upstream, reply, silence

from askonce.providers.http import Limits
from askonce.providers.network import Network, is_public
from askonce.wiring import posting
from askonce.wiring.posting import Poster

HEADERS = (("Content-Type", "application/json"),)


async def post(play: Play, *hosts: str, url: str = "") -> tuple[str, list[Any]]:
    """Post to a receiver; return what came of it and what the receiver saw."""
    async with Upstream(play) as up:
        poster = Poster(Network(), hosts)
        try:
            told = await poster.send(url.format(port=up.port) or f"http://127.0.0.1:{up.port}/hook", b"{}", HEADERS)
            return told, [exchange.path for exchange in up.seen]
        finally:
            await poster.close()


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_whoever_says_2xx_has_it(status: int) -> None:
    told, seen = asyncio.run(post(reply(status, b""), "127.0.0.1"))
    assert (told, seen) == ("", ["/hook"])


def test_redirects_are_not_followed_and_refusals_are_told() -> None:
    told, seen = asyncio.run(post(reply(302, b"", {"Location": "/elsewhere"}), "127.0.0.1"))
    assert (told, seen) == ("it answered 302, and redirects are not followed", ["/hook"])
    assert asyncio.run(post(reply(500, b"no"), "127.0.0.1"))[0] == "it answered 500"


def test_who_hangs_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "_LIMITS", Limits(5.0, 0.1, 0.1, 0.2))
    assert "in time" in asyncio.run(post(silence(), "127.0.0.1"))[0]


def test_a_star_leads_into_no_network_of_ones_own_by_whatever_name(monkeypatch: pytest.MonkeyPatch) -> None:
    told, seen = asyncio.run(post(reply(200, b""), "*"))
    assert ("public network" in told, seen) == (True, [])

    async def inward(self: object, host: str, port: int, **how: object) -> list[Any]:
        assert host == "innocent.example"
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", inward)
    told, seen = asyncio.run(post(reply(200, b""), "*", url="http://innocent.example:{port}/"))
    assert ("public network" in told, seen) == (True, [])


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:0a00:0001::", False),
    ],
)
def test_addresses_of_the_public_internet_are_told_from_others(address: str, public: bool) -> None:
    assert is_public(address) == public
