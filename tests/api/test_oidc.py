"""Logging in at an identity provider: a real one, in a process of its own on loopback."""

import asyncio
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.api.adminworld import AdminWorld

from askonce.api.oidc import SPAN_S, Travelling, seal, unseal
from askonce.domain.admittance import read_rule
from askonce.domain.clock import SystemClock
from askonce.domain.errors import LoginUnavailable
from askonce.wiring.administration import LateProvider

CLAIMS = (
    '{"sub": "ada", "email": "report@acme.example", "email_verified": true, "name": "Ada"}',
    '{"sub": "eve", "email": "root@acme.example", "email_verified": false}',
    '{"sub": "bob", "email": "bob@partner.example", "email_verified": true, "groups": ["llm", "staff"]}',
)


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """Run the provider; it tells its port on its first line."""
    claims = [part for told in CLAIMS for part in ("--user-claims", told)]
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", "0", "--require-nonce", *claims]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                found = re.search(r"http://(?:localhost|127\.0\.0\.1):(\d+)", line)
                if found:
                    yield f"http://127.0.0.1:{found[1]}"
                    break
        finally:
            process.kill()


class Staying(urllib.request.HTTPRedirectHandler):
    """Follow no redirect."""

    def redirect_request(self, *_: Any) -> None:
        """Stay."""


def agree(url: str, subject: str) -> str:
    """Log in at the provider as a browser would, and return where it sends the browser."""
    opener = urllib.request.build_opener(Staying)
    with pytest.raises(urllib.error.HTTPError) as told:  # which a redirect is, to who follows none
        opener.open(url, data=urllib.parse.urlencode({"sub": subject}).encode(), timeout=10)
    with told.value as reply:
        assert reply.code in (302, 303)
        return str(reply.headers["location"])


def cookie_of(answer: Any, name: str) -> str:
    """Return a cookie that an answer set; tests' answers keep one header of a name, so ask for it by its beginning."""
    found = re.match(f"{name}=([^;]*)", answer.headers["set-cookie"])
    assert found is not None, answer.headers
    return found[1]


async def journey(caller: Any, subject: str, spoil: str = "") -> Any:
    """Go to the provider and back; `spoil` names what is not as it was."""
    begun = await caller.ask("", "GET", "/login/oidc")
    assert begun.status == 303
    cookie = cookie_of(begun, "askonceLogin")
    back = urllib.parse.urlsplit(await asyncio.to_thread(agree, begun.headers["location"], subject))
    assert back.path == "/login/oidc/callback"
    sent = {"cookie": f"askonceLogin={cookie}"}
    query = back.query
    if spoil == "state":
        query = re.sub("state=[^&]*", "state=other", query)
    if spoil == "code":
        query = re.sub("code=[^&]*", "code=other", query)
    if spoil == "cookie":
        sent = {}
    if spoil == "time":
        caller.world.clock.pass_s(SPAN_S + 1)
    if spoil == "nonce":
        told = unseal(b"k" * 32, cookie, caller.world.clock.wall_ms())
        assert told is not None
        sent = {"cookie": "askonceLogin=" + seal(b"k" * 32, replace(told, nonce="other"))}
    return await caller.ask("", "GET", f"/login/oidc/callback?{query}", **sent)


@pytest.fixture
def world(tmp_path: Path, issuer: str) -> AdminWorld:
    world = AdminWorld(tmp_path)
    world.provider_of_identity = LateProvider(issuer, "askonce", "its-secret", SystemClock())
    return world


def test_who_was_invited_logs_in_by_a_verified_address(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        answer = await journey(caller, "ada")
        assert (answer.status, answer.headers["location"]) == (303, "/login")
        who = await caller.ask("", "GET", "/sessions/current", cookie=f"sessionId={cookie_of(answer, 'sessionId')}")
        assert (who.json["userId"], who.json["scopes"]) == (world.users["acme", "report"], ["report"])
        [row] = [row for row in await world.audited() if row.action == "login"]
        assert b'"oidc"' in bytes(row.details)

    world.tell(story)


def test_an_address_that_nobody_verified_is_nobodys(world: AdminWorld) -> None:
    world.rules = (read_rule("*=acme:root"),)

    async def story(caller: Any) -> None:
        answer = await journey(caller, "eve")
        assert (answer.status, answer.json["code"]) == (401, "unauthorized")
        assert [row.action for row in await world.audited() if row.action == "login.refused"]

    world.tell(story)


@pytest.mark.parametrize(
    ("rules", "scopes", "tenant"),
    [
        ((), None, None),
        (("@elsewhere.example=beta:use",), None, None),
        (("groups:nobody=beta:use",), None, None),
        (("@partner.example=beta:use+report",), ["use", "report"], "beta"),
        (("groups:llm=partners:use", "*=beta:admin"), ["use"], "partners"),
    ],
)
def test_rules_let_in_who_was_not_invited(
    world: AdminWorld, rules: tuple[str, ...], scopes: list[str] | None, tenant: str | None
) -> None:
    world.rules = tuple(map(read_rule, rules))

    async def story(caller: Any) -> None:
        answer = await journey(caller, "bob")
        if scopes is None:
            assert answer.status == 401
            return
        cookie = f"sessionId={cookie_of(answer, 'sessionId')}"
        who = (await caller.ask("", "GET", "/sessions/current", cookie=cookie)).json
        assert (who["scopes"], who["tenant"]) == (scopes, tenant)
        again = await journey(caller, "bob")
        cookie = f"sessionId={cookie_of(again, 'sessionId')}"
        assert (await caller.ask("", "GET", "/sessions/current", cookie=cookie)).json["userId"] == who["userId"]

    world.tell(story)


@pytest.mark.parametrize("spoil", ["state", "code", "cookie", "time", "nonce"])
def test_whatever_is_not_as_it_began_is_no_login(world: AdminWorld, spoil: str) -> None:
    async def story(caller: Any) -> None:
        answer = await journey(caller, "ada", spoil)
        assert (answer.status, answer.json["code"]) == (401, "unauthorized"), answer.body
        assert "set-cookie" not in answer.headers

    world.tell(story)


def test_the_browser_is_sent_with_a_challenge_and_comes_back_to_this_server(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        begun = await caller.ask("", "GET", "/login/oidc", x_forwarded_proto="https")
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(begun.headers["location"]).query)
        assert query["code_challenge_method"] == ["S256"]
        assert len(query["code_challenge"][0]) == 43
        assert query["nonce"][0] != query["state"][0]
        assert query["redirect_uri"] == ["http://127.0.0.1:3001/login/oidc/callback"]  # no proxy is believed here
        assert "HttpOnly; SameSite=Lax" in begun.headers["set-cookie"]

    world.tell(story)


def test_a_provider_that_is_away_or_somebody_else_is_told_as_that(issuer: str) -> None:
    for address in ("http://127.0.0.1:9", issuer.replace("127.0.0.1", "localhost") + "/nothing"):
        with pytest.raises(LoginUnavailable):
            asyncio.run(LateProvider(address, "askonce", "s", SystemClock()).begin("http://127.0.0.1/x"))


def test_without_a_provider_there_is_no_way_to_one(tmp_path: Path) -> None:
    async def story(caller: Any) -> None:
        assert (await caller.ask("", "GET", "/login/oidc")).status == 404

    AdminWorld(tmp_path).tell(story)


def test_what_travels_cannot_be_made_by_others() -> None:
    told = Travelling("s", "n", "v", 10)
    text = seal(b"k" * 32, told)
    assert unseal(b"k" * 32, text, 9) == told
    for spoilt in ("", ".", text[:-1], text[1:], text + "0", text.replace(".", ""), "é." + text):
        assert unseal(b"k" * 32, spoilt, 9) is None
    assert unseal(b"j" * 32, text, 9) is None
    assert unseal(b"k" * 32, text, 10) is None
