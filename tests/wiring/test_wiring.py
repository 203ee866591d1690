"""A whole gateway from a configuration, without its process: what becomes of names and weights that are not there."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from askonce.config.paths import prices_path, status_path
from askonce.config.settings import Config, ProviderSettings
from askonce.localmodel.status import Status, write
from askonce.providers.prices import PriceTable, encode_table
from askonce.wiring import gateway as wiring
from askonce.wiring.fleet import shapes_of
from askonce.wiring.gateway import Gateway


def config(folder: Path, **settings: Any) -> Config:
    (folder / "run").mkdir()
    return Config(data_dir=str(folder), models_dir=str(folder), **settings)


async def asked(gateway: Gateway, prompt: str) -> tuple[int, dict[str, Any]]:
    """Post a prompt at the ASGI door."""
    body = json.dumps({"prompt": prompt}).encode()
    headers = [(b"host", b"127.0.0.1:3001"), (b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/llm/generate",
        "raw_path": b"/llm/generate",
        "query_string": b"",
        "headers": [*headers, (b"content-length", str(len(body)).encode())],
        "client": ("127.0.0.1", 5),
        "scheme": "http",
    }
    sent: list[dict[str, Any]] = []
    came = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if came:
            return came.pop()
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await gateway.asgi(scope, receive, send)
    return sent[0]["status"], json.loads(b"".join(one.get("body", b"") for one in sent[1:]))


def test_weights_that_vanished_make_the_embedded_model_unavailable_and_not_unconfigured(tmp_path: Path) -> None:
    found = config(tmp_path, local_model="/gone/Mine.gguf")
    reason = "ASKONCE_LOCAL_MODEL=/gone/Mine.gguf: it cannot be read."
    write(status_path(found.data_dir), Status("failed", detail=reason, permanent=True))

    async def play() -> tuple[tuple[int, dict[str, Any]], list[str]]:
        gateway = Gateway(found, 0, 1)
        try:
            await gateway.start()
            answer = await asked(gateway, "hello")
            return answer, [part.detail for part in await gateway.look() if part.name == "local_model"]
        finally:
            await gateway.stop()

    (status, body), (ready,) = asyncio.run(play())
    assert (status, body["code"]) == (503, "model_unavailable")
    assert reason in body["message"]
    assert reason in ready


def test_every_provider_has_its_shape(tmp_path: Path) -> None:
    own = ProviderSettings("workshop", base_url="http://127.0.0.1:9/v1")
    shapes = shapes_of(config(tmp_path, providers=(own,)))
    assert {shapes[name] for name in ("anthropic", "gemini", "openai", "workshop")} == {"anthropic", "gemini", "openai"}
    assert (shapes["anthropic"], shapes["workshop"]) == ("anthropic", "openai")


def test_names_that_nobody_answers_to_are_said_once_when_the_prices_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(wiring, "_log", SimpleNamespace(warning=said.append))
    found = config(
        tmp_path,
        default_model="gpt-nine",
        aliases={"said": "opnai:x", "fine": "openai:newest"},
        providers=(ProviderSettings("openai", api_key="sk-1"),),
    )

    async def play() -> None:
        gateway = Gateway(found, 0, 1)
        try:
            gateway.beat()
            assert not said
            prices_path(found.data_dir).write_bytes(encode_table(PriceTable()))
            gateway.beat()
            gateway.beat()
        finally:
            await gateway.stop()

    asyncio.run(play())
    (sentence,) = said
    assert sentence.startswith("default_model = 'gpt-nine': No provider is known")
