"""What a key may not ask it cannot read, forget or have counted either."""

from pathlib import Path
from typing import Any

from tests.api.adminworld import AdminWorld, Caller

QUESTION = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}


def test_stored_answers_of_other_models_are_not_there(tmp_path: Path) -> None:
    world = AdminWorld(tmp_path)

    async def story(caller: Caller) -> None:
        made = (await caller.ask("acme/admin", "POST", "/admin/keys", {"name": "o", "models": ["other*"]})).json
        same = (await caller.ask("acme/admin", "POST", "/admin/keys", {"name": "m", "models": ["m"]})).json

        async def by(key: str, method: str, path: str, body: Any = None) -> Any:
            headers = {"authorization": f"Bearer {key}"}
            if body is not None:
                return await caller.client.post(body, path, headers=headers)
            return await caller.client.ask(method, path, headers={**headers, "content-type": ""})

        assert (await caller.ask("acme/use", "POST", "/llm/generate", {"prompt": "x"})).status == 200
        (entry,) = (await caller.ask("acme/use", "GET", "/llm/cache/entries")).json["entries"]
        path = f"/llm/cache/entries/{entry['key']}"
        assert (await by(made["key"], "GET", "/llm/cache/entries")).json["entries"] == []
        assert (await by(made["key"], "GET", path)).status == 404
        assert (await by(made["key"], "DELETE", path)).status == 404
        assert (await by(made["key"], "DELETE", "/llm/cache")).json["deleted"] == 0
        assert (await by(made["key"], "POST", "/v1/messages/count_tokens", QUESTION)).status == 403
        assert (await by(same["key"], "GET", path)).status == 200
        assert (await by(same["key"], "POST", "/v1/messages/count_tokens", QUESTION)).status == 200
        assert (await by(same["key"], "DELETE", "/llm/cache")).json["deleted"] == 1
        assert {"cache.read", "cache.purged", "access.refused"} <= {row.action for row in await world.audited()}

    world.tell(story)
