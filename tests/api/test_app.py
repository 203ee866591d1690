"""The guard in front of every door, the windows, and the shape of refusals."""

import json

import pytest

from askonce.api.admin.rows import ADMIN_DOORS
from askonce.api.app import LimitRule
from askonce.api.doors import DOORS
from askonce.api.looks import looks
from askonce.api.session_rows import SESSION_DOORS
from askonce.api.workflows.rows import WORK_DOORS

MINUTE_NS = 60_000_000_000

PROMPT = {"prompt": "hello"}
LOGGING_IN = {"open_session", "login_page", "oidc_login", "oidc_callback"}  # tests/api/test_walk.py, with those who may


def test_twenty_pass_and_the_rest_are_told_when_to_come_back(world):
    async def story(client):
        statuses = [(await client.post(PROMPT)).status for _ in range(20)]
        assert statuses == [200] * 20
        world.clock.pass_s(12.5)
        refused = await client.post(PROMPT)
        assert refused.status == 429
        assert refused.json == {
            "error": "Rate limit exceeded",
            "message": "Too many LLM requests, please wait before trying again.",
            "retryAfter": 48,
            "code": "rate_limited",
            "requestId": refused.headers["x-request-id"],
        }
        assert refused.headers["retry-after"] == "48"
        assert refused.headers["x-ratelimit-limit"] == "20"
        assert refused.headers["x-ratelimit-remaining"] == "0"
        assert refused.headers["x-ratelimit-reset"] == str(world.clock.wall_ms() + 47_500)
        assert refused.headers["ratelimit-policy"] == '"llm";q=20;w=60'
        assert refused.headers["ratelimit"] == '"llm";r=0;t=48'
        world.clock.pass_s(47.5)
        assert (await client.post(PROMPT)).status == 200

    world.run(story)


def test_refused_requests_are_not_counted(world):
    async def story(client):
        for body in (b"{", {"prompt": " "}, {"prompt": "x", "model": "nope"}):
            assert (await client.post(body)).status in (400, 404)
        assert (await client.post(PROMPT)).headers["x-ratelimit-remaining"] == "19"

    world.run(story)


def test_a_flood_of_refused_requests_is_stopped(world):
    world.limits["refused"] = LimitRule(3, MINUTE_NS)

    async def story(client):
        statuses = [(await client.post(b"{")).status for _ in range(5)]
        assert statuses == [400, 400, 400, 429, 429]
        assert (await client.post(PROMPT)).status == 200

    world.run(story)


def test_other_doors_have_a_window_of_their_own(world):
    world.limits["standard"] = LimitRule(2, MINUTE_NS)

    async def story(client):
        statuses = [(await client.get("/llm/cache/stats")).status for _ in range(3)]
        assert statuses == [200, 200, 429]
        assert (await client.post(PROMPT)).status == 200
        assert (await client.get("/health")).status == 200

    world.run(story)


@pytest.mark.parametrize(
    "path", ["/llm/Generate", "/llm/generate/", "//llm/generate", "/LLM/generate", "/llm/./generate"]
)
def test_another_spelling_of_a_path_is_not_a_door(world, path):
    async def story(client):
        answer = await client.post(PROMPT, path)
        assert (answer.status, answer.json["code"]) == (404, "not_found")

    world.run(story)


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("GET", "/llm/generate", b"", {}, 405, "method_not_allowed"),
        ("PATCH", "/llm/cache/entries/ab", b"", {}, 405, "method_not_allowed"),
        ("POST", "/llm/generate", b"{}", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        ("POST", "/llm/generate", b"{}", {"content-type": ""}, 415, "unsupported_media_type"),
        ("POST", "/llm/generate", b"{}", {"content-encoding": "gzip"}, 415, "unsupported_media_type"),
        ("POST", "/llm/generate", b"x" * 100_001, {}, 413, "body_too_large"),
        ("POST", "/llm/generate", b'{"prompt": "\xff"}', {}, 400, "malformed_request"),
        ("POST", "/llm/generate", b"[" * 50_000, {}, 400, "malformed_request"),
        ("POST", "/llm/generate", b'{"promt": "x"}', {}, 400, "invalid_request"),
        ("GET", "/nothing", b"", {}, 404, "not_found"),
        ("GET", "/llm/cache/entries/zz", b"", {}, 404, "not_found"),
        ("GET", "/llm/cache/entries?limit=0", b"", {}, 400, "invalid_request"),
        ("GET", "/llm/cache/entries?limt=1", b"", {}, 400, "invalid_request"),
        ("GET", "/llm/cache/entries?limit=%ff", b"", {}, 400, "invalid_request"),
        ("DELETE", "/llm/cache?olderThan=x", b"", {}, 400, "invalid_request"),
        ("DELETE", "/llm/cache?model=", b"", {}, 400, "invalid_request"),
        ("GET", "/llm/cache/entries/", b"", {}, 404, "not_found"),
        ("POST", "/llm/generate", b"{}", {"host": "evil.example"}, 403, "forbidden"),
        ("POST", "/llm/generate", b"{}", {"origin": "https://evil.example"}, 403, "forbidden"),
        ("GET", "/docs", b"", {"host": "evil.example"}, 403, "forbidden"),
        ("POST", "/llm/generate", b"{}", {"authorization": "Bearer sk-anything"}, 401, "unauthorized"),
        ("POST", "/llm/generate", b"{}", {"x-session-id": "1"}, 401, "unauthorized"),
        ("POST", "/llm/generate", b"{}", {"cookie": "a=b; sessionId=1"}, 401, "unauthorized"),
    ],
)
def test_refusals_have_a_status_a_code_and_a_cure(world, method, path, body, headers, status, code):
    async def story(client):
        answer = await client.ask(method, path, body=body, headers=headers)
        assert (answer.status, answer.json["code"]) == (status, code)
        assert set(answer.json) >= {"error", "message", "code", "requestId"}
        assert answer.json["requestId"] == answer.headers["x-request-id"]
        assert answer.json["message"].endswith((".", "?"))

    world.run(story)


def test_an_unknown_field_is_refused_with_the_nearest(world):
    async def story(client):
        answer = await client.post({"prompt": "x", "max_tokens": 5, "temprature": 1})
        assert {d["field"] for d in answer.json["details"]} == {"max_tokens", "temprature"}
        assert "maxTokens" in answer.json["message"]
        assert "temperature" in answer.json["message"]

    world.run(story)


def test_every_wrong_field_of_a_query_is_named(world):
    async def story(client):
        answer = await client.get("/llm/cache/entries?limit=0&olderThan=1h&modell=x&after=zz")
        assert {d["field"] for d in answer.json["details"]} == {"limit", "olderThan", "modell", "after"}
        assert "did you mean model?" in answer.json["message"]

    world.run(story)


def test_no_unknown_credential_passes_beside_a_good_one(world):
    world.keys = [("a-good-key", "t"), ("another-key", "u")]

    async def story(client):
        good = {"authorization": "Bearer a-good-key"}
        for more, status in (
            ({}, 200),
            ({"x-api-key": "a-good-key"}, 200),
            ({"x-api-key": "nope"}, 401),
            ({"x-api-key": "another-key"}, 401),
            ({"x-session-id": "1"}, 401),
            ({"cookie": "sessionId=1"}, 200),  # a browser sends it by itself: the key is what its page chose to send
        ):
            assert (await client.post(PROMPT, headers=good | more)).status == status, more

    world.run(story)


def test_a_callers_request_id_is_kept_if_it_is_harmless(world):
    async def story(client):
        kept = await client.post(PROMPT, headers={"x-request-id": "trace-1/a"})
        assert kept.headers["x-request-id"] == kept.json["metadata"]["requestId"] == "trace-1/a"
        for bad in ('a"b', "a b", "x" * 200, "%d", "é"):
            replaced = await client.post(PROMPT, headers={"x-request-id": bad})
            assert replaced.status == 200
            assert replaced.json["metadata"]["requestId"] != bad

    world.run(story)


def test_cookies_of_other_programs_on_this_host_do_not_matter(world):
    async def story(client):
        assert (
            await client.post(PROMPT, headers={"cookie": "PHPsessionId=1; mysessionId=2; sessionid=3"})
        ).status == 200

    world.run(story)


def test_contradicting_headers_are_refused(world):
    async def story(client):
        scope_headers = {"host": "127.0.0.1:3001", "Host": "evil.example"}
        answer = await client.ask("GET", "/llm/models", headers=scope_headers)
        assert answer.status in (400, 403)

    world.run(story)


def test_every_door_is_guarded_but_the_open_ones(world):
    world.keys = [("a-good-key", "t")]
    open_doors = {"health", "ready", "metrics", "openapi", "docs", "root", "ui_root", "ui", "ui_page"}

    async def story(client):
        for door in DOORS:
            path = door.path.replace("{key}", "00")
            answer = await client.ask(door.method, path, body=json.dumps(PROMPT).encode())
            if door.name in LOGGING_IN:
                assert door.scope == "open"
            elif door.name in open_doors:
                assert door.scope == "open"
                assert answer.status == 404 if door.name in ("ui", "ui_page") else answer.status in (200, 307, 308)
            else:
                assert answer.status == 401, door.name
                assert answer.json["error"], door.name

    world.run(story)


def test_every_door_has_a_handler(world):
    async def story(client):
        services = client.app._s
        looking, asking = set(looks(services.cache, services.fleet, services.trail)), set(services.asking)
        assert not looking & asking
        further = {door.name for door in (*SESSION_DOORS, *ADMIN_DOORS, *WORK_DOORS)}  # tests/api/test_walk.py
        assert looking | asking - further == {door.name for door in DOORS if door.scope != "open"} - further

    world.run(story)


def test_head_is_let_in_where_get_is(world):
    async def story(client):
        assert (await client.ask("HEAD", "/health")).status == 200
        assert (await client.ask("HEAD", "/llm/models")).headers["x-ratelimit-remaining"] == "99"
        assert (await client.ask("HEAD", "/llm/generate")).status == 405

    world.run(story)


def test_a_defect_is_answered_and_told(world):
    async def story(client):
        async def broken():
            raise ZeroDivisionError

        world.models = broken
        answer = await client.get("/llm/models")
        assert (answer.status, answer.json["code"]) == (500, "internal_error")
        assert isinstance(world.defects[0], ZeroDivisionError)

    world.run(story)


def test_the_cache_can_be_looked_into_and_emptied(world):
    async def story(client):
        for prompt in ("a", "b", "c"):
            await client.post({"prompt": prompt, "model": prompt})
        stats = (await client.get("/llm/cache/stats")).json
        assert (stats["hits"], stats["misses"], stats["entries"], stats["hitRate"]) == (0, 3, 3, 0.0)
        page = (await client.get("/llm/cache/entries?limit=2")).json
        rest = (await client.get(f"/llm/cache/entries?limit=2&after={page['next']}")).json
        assert (len(page["entries"]), len(rest["entries"]), rest["next"]) == (2, 1, None)
        assert {entry["hits"] for entry in (*page["entries"], *rest["entries"])} == {0}
        for _ in range(3):
            await client.post({"prompt": "b", "model": "b"})
        await client.post({"prompt": "c", "model": "c"})
        first, second, third = (await client.get("/llm/cache/entries?order=hits")).json["entries"]
        assert [(one["model"], one["hits"]) for one in (first, second, third)] == [("b", 3), ("c", 1), ("a", 0)]
        assert first["savedNano"] == 3 * first["costNano"] > 0
        (most,) = (await client.get("/llm/cache/entries?order=saved&limit=1")).json["entries"]
        assert most["model"] == "b"
        refused = await client.get(f"/llm/cache/entries?order=size&after={page['next']}")
        assert (refused.status, "no pages" in str(refused.json)) == (400, True)
        assert (await client.get(f"/llm/cache/entries/{first['key']}")).json["hits"] == 3
        key = page["entries"][0]["key"]
        whole = (await client.get(f"/llm/cache/entries/{key}")).json
        assert whole["text"] == "".join(world.provider.pieces)
        assert (await client.ask("DELETE", f"/llm/cache/entries/{key}")).json == {"deleted": 1}
        assert (await client.ask("DELETE", f"/llm/cache/entries/{key}")).status == 404
        assert (await client.ask("DELETE", "/llm/cache?model=zzz")).json == {"deleted": 0}
        assert (await client.ask("DELETE", "/llm/cache")).json == {"deleted": 2}

    world.run(story)


def test_statistics_follow_the_contract(world):
    async def story(client):
        for prompt in ("a", "b", "a", "a", "a"):
            await client.post({"prompt": prompt})
        stats = (await client.get("/llm/cache/stats")).json
        assert (stats["hits"], stats["misses"], stats["hitRate"]) == (3, 2, 60.0)
        assert stats["savingsNano"] == stats["savings"]["exact"] == 3 * 1262500
        assert stats["estimatedSavings"] == "$0.00"
        assert stats["savedTokens"] == 3 * 169

    world.run(story)


def test_ready_is_503_with_reasons_when_a_needed_part_is_down(world):
    async def story(client):
        assert (await client.get("/ready")).status == 200
        world.parts = (type(world.parts[0])("state", "down", "the disk is gone", needed=True),)
        answer = await client.get("/ready")
        assert (answer.status, answer.json["ready"]) == (503, False)
        assert answer.json["reasons"] == ["state: the disk is gone"]

    world.run(story)
