"""Bytes as they come from the street: every refusal is JSON, no spelling is an unlimited door, no connection hangs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system.clients import GENERATE, Answered, Line, encode, post_now, request, request_now, run
from tests.system.houses import House, eventually

pytestmark = pytest.mark.process
LIMIT = 4096
BODY = b'{"prompt": "x"}'
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Run one server for all that is not limited here."""
    settings = f'body_limit = "{LIMIT}"\nbody_timeout = "1s"\nlimit_llm = "off"\nlimit_refused = "off"'
    one = House(tmp_path_factory.mktemp("rough"), settings + '\nlimit_standard = "off"')
    yield one.start()
    one.end()


def say(house: House, data: bytes, method: str = "POST") -> Answered:
    """Send bytes and read one reply."""

    async def talk() -> Answered:
        line = await Line.to(house.port)
        await line.send(data)
        return await line.reply(method)

    return run(talk())


def question(path: str = GENERATE, body: bytes = BODY, **headers: str) -> bytes:
    return encode("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})


CHUNKED = {**JSON, "Transfer-Encoding": "chunked"}
CHUNKS = b"5\r\n" + BODY[:5] + b"\r\n" + b"%x\r\n" % len(BODY[5:]) + BODY[5:] + b"\r\n0\r\n\r\n"
MUCH = b"x" * (LIMIT + 1)
REFUSED = {
    "not HTTP": (b"hello there\r\n\r\n", 400, "malformed_request"),
    "zeros": (b"\0\1\2\3\r\n\r\n", 400, "malformed_request"),
    "TLS": (bytes.fromhex("160301020001000000") + b"x" * 100, 400, "malformed_request"),
    "HTTP/2 by prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed_request"),
    "CONNECT": (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n", 400, "malformed_request"),
    "an unknown method": (encode("BREW", GENERATE, BODY), 400, "malformed_request"),
    "a space before the colon": (question(X_A="b").replace(b"X-A:", b"X-A :"), 400, "malformed_request"),
    "two lengths": (question().replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n", 1), 400, "malformed_request"),
    "length and chunks": (question(Transfer_Encoding="chunked"), 400, "malformed_request"),
    "a negative length": (encode("POST", GENERATE, b"", {"Content-Length": "-5"}), 400, "malformed_request"),
    "two hosts": (question().replace(b"\r\n\r\n", b"\r\nHost: evil.example\r\n\r\n", 1), 400, "malformed_request"),
    "no body": (encode("POST", GENERATE, b"", JSON), 400, "malformed_request"),
    "UTF-16": (question(body='{"prompt": "x"}'.encode("utf-16")), 400, "malformed_request"),
    "not JSON": (question(body=b"prompt=x"), 400, "malformed_request"),
    "too deep": (question(body=b'{"prompt":' + b"[" * 1500 + b"]" * 1500 + b"}"), 400, None),
    "a form": (question(Content_Type="application/x-www-form-urlencoded"), 415, "unsupported_media_type"),
    "over the limit": (question(body=MUCH), 413, "body_too_large"),
    "over the limit, and not sent": (
        encode("POST", GENERATE, b"", {**JSON, "Content-Length": str(LIMIT + 1)}),
        413,
        "body_too_large",
    ),
    "over the limit in chunks": (
        encode("POST", GENERATE, b"", CHUNKED) + b"%x\r\n" % len(MUCH) + MUCH + b"\r\n0\r\n\r\n",
        413,
        "body_too_large",
    ),
    "a body that does not come": (encode("POST", GENERATE, b"", {**JSON, "Content-Length": "50"}) + b"{", 408, None),
    "a body in chunks that does not end": (encode("POST", GENERATE, b"", CHUNKED) + b"5\r\n{", 408, "request_timeout"),
    "GET": (encode("GET", GENERATE), 405, "method_not_allowed"),
    "PUT": (encode("PUT", GENERATE, BODY), 405, "method_not_allowed"),
    "OPTIONS": (encode("OPTIONS", GENERATE), 405, "method_not_allowed"),
    "OPTIONS of everything": (encode("OPTIONS", "*"), 404, "not_found"),
    "TRACE": (encode("TRACE", "/health"), 405, "method_not_allowed"),
    "another case": (question("/LLM/Generate"), 404, "not_found"),
    "a slash at the end": (question("/llm/generate/"), 404, "not_found"),
    "two slashes": (question("//llm/generate"), 404, "not_found"),
    "a dot": (question("/llm/./generate"), 404, "not_found"),
    "two dots": (question("/x/../llm/generate"), 404, "not_found"),
    "a parameter": (question("/llm/generate;x=1"), 404, "not_found"),
    "a zero": (question("/llm/generate%00"), 404, "not_found"),
    "twice encoded": (question("/llm/%2567enerate"), 404, "not_found"),
    "no UTF-8 in the path": (question("/llm/%ff%fe"), 404, "not_found"),
    "a foreign host": (question(Host="evil.example"), 403, "forbidden"),
    "a foreign host that looks near": (question(Host="127.0.0.1.evil.example"), 403, "forbidden"),
    "a foreign host with a port": (question(Host="localhost.evil.example:3001"), 403, "forbidden"),
    "a foreign origin": (question(Origin="https://evil.example"), 403, "forbidden"),
    "a null origin": (question(Origin="null"), 403, "forbidden"),
    "an origin of another port": (question(Origin="http://127.0.0.1:9"), 403, "forbidden"),
    "a key where there are none": (question(Authorization="Bearer guess"), 401, "unauthorized"),
    "a session where there are none": (question(X_Session_Id="guess"), 401, "unauthorized"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_refused_in_json(house: House, case: str) -> None:
    data, status, code = REFUSED[case]
    before = len(house.calls())
    reply = say(house, data)
    body = reply.json()
    assert (reply.status, body["code"]) == (status, code or body["code"]), reply
    assert set(body) >= {"error", "message", "code", "requestId"}
    assert body["requestId"] == reply.headers["x-request-id"]
    assert reply.headers["content-type"] == "application/json"
    if status == 405:
        assert "allow" in reply.headers
    assert len(house.calls()) == before


SERVED = {
    "plain": question(),
    "encoded": question("/llm/%67enerate"),
    "with a query": question("/llm/generate?x=1"),
    "absolute form": question("http://127.0.0.1/llm/generate"),
    "HTTP/1.0": question().replace(b"HTTP/1.1", b"HTTP/1.0"),
    "in chunks": encode("POST", GENERATE, b"", CHUNKED) + CHUNKS,
    "with a charset": question(Content_Type="application/json; charset=utf-8"),
    "expecting 100-continue": question(Expect="100-continue"),
    "by the name of this machine": question(Host="localhost:3001"),
    "by IPv6": question(Host="[::1]:3001"),
    "of its own page": question(Host="localhost:3001", Origin="http://localhost:3001"),
    "offering HTTP/2, as Java does": question(
        Connection="Upgrade, HTTP2-Settings", Upgrade="h2c", HTTP2_Settings="AAMAAABkAAQAAP__"
    ),
    "offering a websocket": question(Connection="Upgrade", Upgrade="websocket"),
}


@pytest.mark.parametrize("case", SERVED)
def test_every_proper_spelling_is_the_same_door(house: House, case: str) -> None:
    reply = say(house, SERVED[case])
    assert (reply.status, reply.json()["code"]) == (200, "Answer to x")


def test_a_body_that_is_announced_is_waited_for_before_100_continue_is_said_only_where_it_is_wanted(
    house: House,
) -> None:
    async def talk(length: int) -> tuple[int, Line]:
        line = await Line.to(house.port)
        headers = {**JSON, "Content-Length": str(length), "Expect": "100-continue"}
        await line.send(encode("POST", GENERATE, b"", headers))
        return (await line.head())[0], line

    async def wanted() -> Answered:
        status, line = await talk(len(BODY))
        assert status == 100
        await line.send(BODY)
        return await line.reply()

    assert run(wanted()).status == 200
    assert run(talk(LIMIT + 1))[0] == 413


@pytest.mark.parametrize("case", ["GET", "two slashes", "a foreign origin", "not JSON", "over the limit", "a form"])
def test_a_connection_is_used_again_after_a_refusal(house: House, case: str) -> None:
    async def talk() -> list[int]:
        line = await Line.to(house.port)
        statuses = []
        for data in (REFUSED[case][0], question(), REFUSED[case][0], question()):
            await line.send(data)
            statuses.append((await line.reply()).status)
        return statuses

    status = REFUSED[case][1]
    assert run(talk()) == [status, 200, status, 200]


def test_pipelined_questions_are_answered_in_their_order(house: House) -> None:
    async def talk() -> list[Answered]:
        line = await Line.to(house.port)
        prompts = [json.dumps({"prompt": f"number {at}", "stream": at % 3 == 0}).encode() for at in range(12)]
        await line.send(b"".join(question(body=prompt) for prompt in prompts) + REFUSED["GET"][0])
        return [await line.reply() for _ in range(len(prompts) + 1)]

    replies = run(talk())
    codes = [reply.whole_answer()["code"] for reply in replies[:-1]]
    assert codes == [f"Answer to number {at}" for at in range(12)]
    assert replies[-1].status == 405


@pytest.mark.parametrize("pieces", [1, 7])
def test_a_head_of_100_kb_is_refused_however_it_comes(house: House, pieces: int) -> None:
    data = question(X_Big="a" * 100_000)
    size = -(-len(data) // pieces)

    async def talk() -> str:
        line = await Line.to(house.port)
        try:
            for at in range(0, len(data), size):
                await line.send(data[at : at + size])
            return (await line.reply()).text
        except (ConnectionError, EOFError):
            return "over 64 kB"  # the connection was closed while we were still sending

    assert "over 64 kB" in run(talk())


def test_bytes_one_by_one_are_a_request_like_any_other(house: House) -> None:
    async def talk() -> Answered:
        line = await Line.to(house.port)
        for byte in question():
            await line.send(bytes([byte]))
        return await line.reply()

    assert run(talk()).status == 200


def test_head_says_what_get_would_and_sends_no_body(house: House) -> None:
    for path in ("/health", "/ready", "/llm/cache/stats", "/llm/models"):
        got, told = request_now(house.port, path), request_now(house.port, path, "HEAD")
        assert told.status == got.status == 200
        assert told.headers["content-type"] == got.headers["content-type"]
        assert not told.body
    assert request_now(house.port, GENERATE, "HEAD").status == 405


def test_an_open_door_does_not_answer_a_foreign_host_either(house: House) -> None:
    for path in ("/health", "/ready", "/openapi.json", "/docs", "/"):
        assert request_now(house.port, path, headers={"Host": "evil.example"}).status == 403


def test_another_spelling_of_the_path_is_the_same_window(tmp_path: Path) -> None:
    house = House(tmp_path, 'limit_llm = "4/60s"')
    try:
        house.start()
        paths = [GENERATE, "/llm/%67enerate", "/llm/generate?a=b", "http://127.0.0.1/llm/generate", "/%6Clm/generate"]
        replies = [run(request(house.port, "POST", path, BODY)) for path in paths]
        assert [reply.status for reply in replies] == [200] * 4 + [429]
    finally:
        house.end()


def test_with_keys_a_key_is_needed_and_is_the_identity_and_the_tenant(tmp_path: Path) -> None:
    settings = 'workers = 2\nlimit_llm = "3/60s"\nkeys = ["alpha-key-0123456789", "team:beta-key-0123456789"]'
    house = House(tmp_path, settings)
    alpha, beta = ({"Authorization": f"Bearer {name}-key-0123456789"} for name in ("alpha", "beta"))
    wrong: tuple[dict[str, str], ...] = (
        {},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Basic YTpi"},
        {"x-api-key": "nonsense"},
    )
    try:
        house.start()
        for headers in wrong:
            reply = post_now(house.port, {"prompt": "x"}, headers)
            assert (reply.status, reply.json()["code"]) == (401, "unauthorized")
            assert "www-authenticate" in reply.headers
        first = [post_now(house.port, {"prompt": "x"}, alpha) for _ in range(4)]
        assert [reply.status for reply in first] == [200, 200, 200, 429]
        assert [reply.cache for reply in first[:3]] == ["miss", "hit", "hit"]
        other = post_now(house.port, {"prompt": "x"}, {"x-api-key": "beta-key-0123456789"})
        assert (other.cache, other.headers["x-ratelimit-remaining"]) == ("miss", "2")
        assert post_now(house.port, {"prompt": "x"}, {**beta, "Host": "gateway.example"}).cache == "hit"
        assert run(request(house.port, "GET", "/llm/cache/stats", headers=beta)).json()["hits"] == 1
        assert run(request(house.port, "GET", "/llm/cache/stats", headers=alpha)).json()["hits"] == 2
        assert request_now(house.port, "/llm/cache/stats").status == 401
        assert request_now(house.port, "/health").status == 200
        eventually(lambda: house.log(), "it logs")
        assert "key-0123456789" not in (house.folder / "log").read_text() + house.screen()
    finally:
        house.end()
