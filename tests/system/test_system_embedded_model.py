"""The embedded model in the whole house: asked for real, waited for, killed, and always reported as it is."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.system.clients import GENERATE, Line, encode, post, request_now, run
from tests.system.houses import Build, House, eventually

pytestmark = pytest.mark.process
MODEL = "smollm2-135m"
TOTAL_S = 8
FEW = {"maxTokens": 16, "temperature": 0}


def local(house: House) -> dict[str, Any]:
    """Return what is said of the embedded model at /llm/providers."""
    rows = request_now(house.port, "/llm/providers").json()["providers"]
    return next(row for row in rows if row["name"] == "local")


def ready(house: House) -> dict[str, Any]:
    reply = request_now(house.port, "/ready")
    body: dict[str, Any] = reply.json()
    assert (reply.status == 200) is body["ready"]
    return body


@pytest.mark.timeout(300)
def test_the_embedded_model_is_asked_waited_for_and_replaced_and_never_misreported(
    build: Build, models_dir: Path
) -> None:
    settings = f'local_model = "{MODEL}"\nmodels_dir = "{models_dir}"\ntotal_timeout = "{TOTAL_S}s"\nlimit_llm = "off"'
    house = build(settings + '\nlimit_standard = "off"', playing="").start()
    eventually(house.model, "the model's process is started")
    model = house.model()
    assert model is not None
    model.suspend()

    # Not there yet: said everywhere, waited for, and refused at the deadline with the time to come again.
    assert local(house)["configured"] is True
    assert local(house)["healthy"] is False
    assert local(house)["reason"]
    assert ready(house)["parts"]["local_model"]["status"] == "degraded"
    refused = house.ask("Say hello.", **FEW)
    assert (refused.status, refused.json()["code"]) == (503, "model_loading")
    assert int(refused.headers["retry-after"]) > 0
    assert house.stats()["failed"] == 0

    async def ask_while_it_loads() -> Any:
        asked = asyncio.create_task(post(house.port, {"prompt": "Say hello.", **FEW}))
        await asyncio.sleep(0.5)
        assert not asked.done()
        model.resume()
        return await asked

    first = run(ask_while_it_loads())
    assert first.status == 200, first
    metadata = first.json()["metadata"]
    assert (metadata["cache"], metadata["provider"], metadata["model"]) == ("miss", "local", MODEL)
    assert first.json()["code"]
    assert metadata["usage"]["completionTokens"] > 0
    assert metadata["cost"] == "$0.0000"
    assert (local(house)["healthy"], local(house)["reason"]) == (True, "")
    assert ready(house)["parts"]["local_model"] == {"status": "ok", "detail": MODEL}

    again = house.ask("Say hello.", **FEW)
    assert (again.cache, again.json()["code"]) == ("hit", first.json()["code"])
    streamed = house.ask("Count to three.", stream=True, **FEW)
    assert streamed.cache == "miss"
    assert len([name for name, _ in streamed.events() if name == "delta"]) > 2
    replayed = house.ask("Count to three.", stream=True, **FEW)
    assert (replayed.cache, replayed.streamed_text()) == ("hit", streamed.streamed_text())

    # Killed while it answers: that answer breaks off and says so; the next one waits for the successor.
    async def kill_it_in_the_middle() -> str:
        line = await Line.to(house.port)
        body = {"prompt": "Tell a very long story.", "stream": True, "maxTokens": 2000}
        await line.send(encode("POST", GENERATE, json.dumps(body).encode()))
        await line.head()
        said = await line.piece() + await line.piece()
        model.kill()
        while piece := await line.piece():
            said += piece
        return said.decode()

    broken = run(kill_it_in_the_middle())
    assert "event: error" in broken
    assert "event: done" not in broken
    after = house.ask("Say goodbye.", **FEW)
    assert (after.status, after.cache) == (200, "miss"), after
    successor = house.model()
    assert successor is not None
    assert successor.pid != model.pid
    assert ready(house)["parts"]["local_model"]["status"] == "ok"
    assert house.ask("Say hello.", **FEW).cache == "hit"
    stats = house.stats()
    assert (stats["misses"], stats["hits"], stats["failed"]) == (3, 3, 1)
    assert house.stop() == 0
    assert not successor.is_running()
