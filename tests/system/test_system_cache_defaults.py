"""Keys and doors that leave the cache off unless a request asks for it, as a server is configured."""

import json

import pytest
from tests.system.clients import Answered, request, run
from tests.system.houses import Build

pytestmark = pytest.mark.process
CHAT = json.dumps({"model": "demo", "messages": [{"role": "user", "content": "hi"}]}).encode()
SETTINGS = """
keys = ["team:key-of-the-team-1", "team:key-of-the-team-2", "key-of-nobody-else"]
cache_off_doors = ["/v1/messages"]
cache_off_keys = ["{}"]
"""
FIRST = "key-db2fdfab6fbb"


def test_what_is_configured_is_the_default_and_the_request_has_the_last_word(build: Build) -> None:
    house = build(SETTINGS.format(FIRST)).start()

    def ask(key: str, path: str = "/v1/chat/completions", **headers: str) -> str:
        sent = {"Authorization": f"Bearer {key}"} | {name.replace("_", "-"): value for name, value in headers.items()}
        body = CHAT if "chat" in path else CHAT[:-1] + b', "max_tokens": 9}'
        reply: Answered = run(request(house.port, "POST", path, body, sent))
        assert reply.status == 200, reply
        return reply.headers["cache-status"].partition("; ttl")[0]

    first, second, other = "key-of-the-team-1", "key-of-the-team-2", "key-of-nobody-else"
    assert [ask(first) for _ in range(2)] == ["askonce; fwd=bypass"] * 2
    assert ask(second) == "askonce; fwd=miss; stored"
    assert ask(first) == "askonce; fwd=bypass"
    assert ask(first, Cache_Control="max-age=3600") == "askonce; hit"
    assert ask(first, Cache_Control="no-cache") == "askonce; fwd=request; stored"
    assert [ask(other) for _ in range(2)] == ["askonce; fwd=miss; stored", "askonce; hit"]
    assert ask(other, "/v1/messages") == "askonce; fwd=bypass"
    assert ask(other, "/v1/messages", Cache_Control="max-age=3600") == "askonce; fwd=miss; stored"
    assert ask(other, "/v1/messages", Cache_Control="max-age=3600") == "askonce; hit"
