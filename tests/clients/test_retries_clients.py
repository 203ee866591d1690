"""The vendors' own libraries retry a call that they gave up on: with a name for it, it is paid once."""

from collections.abc import Callable

import pytest
from anthropic import Anthropic
from openai import OpenAI
from tests.api.conftest import World
from tests.clients.serving import already, served

from askonce.providers.script import Play, Script
from askonce.providers.scripted import ScriptedProvider

KEY = "sk-of-ours-12345"
# The libraries' patience is half a second here, the answer's time more than twice that.
PATIENCE_S, ANSWER_MS, RETRIES = 0.5, 1200, 6
NAMED = {"Idempotency-Key": "order-1", "Cache-Control": "no-store"}


class Counting(ScriptedProvider):
    """Play a script, counting."""

    calls = 0

    def _choose(self, *given: str) -> Play:
        self.calls += 1
        return super()._choose(*given)


def by_openai(address: str) -> str | None:
    with OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=RETRIES, timeout=PATIENCE_S) as ask:
        reply = ask.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hi"}], extra_headers=NAMED
        )
    return reply.choices[0].message.content


def by_anthropic(address: str) -> str | None:
    with Anthropic(base_url=address, api_key=KEY, max_retries=RETRIES, timeout=PATIENCE_S) as ask:
        reply = ask.messages.create(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "Hi"}], extra_headers=NAMED
        )
    return reply.content[0].text if reply.content[0].type == "text" else None


@pytest.mark.parametrize("ask", [by_openai, by_anthropic])
def test_a_library_that_gives_up_and_tries_again_pays_once(ask: Callable[[str], str | None]) -> None:
    world = World()
    world.keys = [(KEY, "t")]
    provider = Counting(Script((Play(text="patience", delay_ms=ANSWER_MS),)))
    with served(world, already(provider)) as address:
        assert ask(address) == "patience"
    assert provider.calls == 1
    assert [record.ending for record in world.records] == ["answered"]
