"""The answer as it leaves: exactly the documented fields, and a stream that ends with the very same answer."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from askonce.api.bodies import Generated
from askonce.domain.answer import Answer, CacheState, Delta, Entry, pack
from askonce.domain.call import Ask, CacheWish, Call, Message, Params, RoutingMode, RoutingWish
from askonce.domain.errors import Detail as Problem
from askonce.domain.errors import Invalid, ProviderFailed, RateLimited
from askonce.domain.usage import Usage
from askonce.wire.door import Facts
from askonce.wire.fences import parse
from askonce.wire.native_answer import NATIVE, SHAPE, EventWriter, error_body, render
from askonce.wire.sse import Decoder, Event

STATES: list[CacheState] = ["hit", "miss", "coalesced", "refresh", "off"]
TEXT = "Here:\n```python src/a.py\nprint(1)\n```\nand\n```js b.js\nlet x\n```\n"
ANSWER = Answer(TEXT, "stop", Usage(57, 112), "openai", "gpt-4o", "gpt-4o-2024-08-06", 1_262_500, True, 812, 90)


ROUTING = '{"mode":"single-model","chosen":"openai:gpt-4o","candidates":[]}'


def asked(mode: RoutingMode = "single-model") -> Ask:
    return Ask(Call("acme", (Message("user", "hi"),), Params()), RoutingWish(mode), CacheWish())


FACTS = Facts("miss", 0, 812, "req-1", asked(), "openai", "gpt-4o", ROUTING)


def entry_of(answer: Answer, *, rendered: bool = True) -> Entry:
    return Entry(
        key=b"k" * 32,
        tenant="acme",
        provider=answer.provider,
        model=answer.model,
        stored_ms=1,
        expires_ms=2,
        cost_nano=answer.cost_nano,
        prompt_tokens=answer.usage.prompt_tokens,
        completion_tokens=answer.usage.completion_tokens,
        answer=pack(answer),
        shape=SHAPE if rendered else "another/1",
        rendition=NATIVE.rendition(answer) if rendered else b"not ours",
    )


def fields_of(kind: Any) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind)}


def events(data: bytes) -> list[tuple[str, Any]]:
    decoded: list[Event] = Decoder().feed(data)
    return [(event.event, json.loads(event.data)) for event in decoded]


@pytest.mark.parametrize("rendered", [True, False])
@pytest.mark.parametrize("state", STATES)
def test_an_answer_has_exactly_the_documented_fields(state: CacheState, rendered: bool) -> None:
    facts = Facts(state, 5, 812, "abc.DEF-1:/+=@_", asked("manual"), explanation=ROUTING)
    body = render(entry_of(ANSWER, rendered=rendered), facts)
    whole = msgspec.json.decode(body, type=Generated)
    raw = json.loads(body)
    assert set(raw) == fields_of(Generated)
    documented = {field.encode_name for field in msgspec.structs.fields(type(whole.metadata))}
    assert set(raw["metadata"]) == documented - {"priced"}  # which stands there only where the price is not known
    assert body == body.strip()
    spared = state in ("hit", "coalesced")
    metadata = raw["metadata"]
    assert (metadata["cache"], metadata["cached"]) == (state, spared)
    assert (metadata["costNano"], metadata["savedNano"]) == ((0, 1_262_500) if spared else (1_262_500, 0))
    assert (metadata["cost"], metadata["saved"]) == (("$0.0000", "$0.0013") if spared else ("$0.0013", "$0.0000"))
    assert (metadata["ageSeconds"], metadata["latencyMs"], metadata["requestId"]) == (5, 812, "abc.DEF-1:/+=@_")
    assert metadata["routingMode"] == "manual"


def test_an_answer_is_that_of_the_contract() -> None:
    assert json.loads(render(entry_of(ANSWER), FACTS)) == {
        "code": "print(1)\n",
        "files": [
            {"path": "src/a.py", "language": "python", "content": "print(1)\n"},
            {"path": "b.js", "language": parse(TEXT).files[1].language, "content": "let x\n"},
        ],
        "metadata": {
            "cached": False,
            "cache": "miss",
            "provider": "openai",
            "model": "gpt-4o",
            "modelVersion": "gpt-4o-2024-08-06",
            "routingMode": "single-model",
            "finishReason": "stop",
            "usage": {"promptTokens": 57, "completionTokens": 112, "totalTokens": 169},
            "cost": "$0.0013",
            "costNano": 1262500,
            "saved": "$0.0000",
            "savedNano": 0,
            "ageSeconds": 0,
            "latencyMs": 812,
            "requestId": "req-1",
            "routing": {"mode": "single-model", "chosen": "openai:gpt-4o", "candidates": []},
            "warnings": [],
        },
    }


def test_kinds_of_tokens_that_a_call_had_are_told() -> None:
    usage = Usage(100, 50, 40, 10, 30, estimated=True)
    assert json.loads(render(entry_of(replace(ANSWER, usage=usage)), FACTS))["metadata"]["usage"] == {
        "promptTokens": 100,
        "completionTokens": 50,
        "totalTokens": 150,
        "cachedTokens": 40,
        "cacheWriteTokens": 10,
        "reasoningTokens": 30,
        "estimated": True,
    }


def test_an_unknown_price_is_a_warning_not_a_free_answer() -> None:
    answer = replace(ANSWER, priced=False, cost_nano=0)
    (warning,) = json.loads(render(entry_of(answer), FACTS))["metadata"]["warnings"]
    assert "No price is known for openai:gpt-4o" in warning


def test_a_refused_path_is_a_warning() -> None:
    answer = replace(ANSWER, text="```python ../../etc/passwd.py\nx\n```\n")
    raw = json.loads(render(entry_of(answer), FACTS))
    assert raw["files"] == []
    assert len(raw["metadata"]["warnings"]) == 1


@settings(deadline=None)
@given(st.text(), st.text(max_size=9), st.text(max_size=9), st.integers(0, 10**15))
def test_whatever_a_model_says_is_valid_json(text: str, model: str, version: str, cost_nano: int) -> None:
    answer = replace(ANSWER, text=text, model=model, model_version=version, cost_nano=cost_nano)
    whole = msgspec.json.decode(render(entry_of(answer), FACTS), type=Generated)
    assert whole.code == parse(text).code
    assert (whole.metadata.model, whole.metadata.model_version) == (model, version)
    assert whole.metadata.cost_nano == cost_nano


def test_a_percent_sign_in_an_answer_is_a_percent_sign() -> None:
    answer = replace(ANSWER, text="100% %d %b %s {} {0}", model="m%d", model_version="%%")
    raw = json.loads(render(entry_of(answer), FACTS))
    assert raw["code"] == "100% %d %b %s {} {0}"
    assert raw["metadata"]["model"] == "m%d"


# Streams


def stream(pieces: list[str], answer: Answer = ANSWER) -> list[tuple[str, Any]]:
    writer = EventWriter()
    out = [writer.start(FACTS)]
    out += [writer.piece(Delta(piece)) for piece in pieces]
    out.append(writer.done(entry_of(answer), FACTS))
    return events(b"".join(out))


def test_a_stream_tells_who_answers_then_pieces_and_files_then_the_whole_answer() -> None:
    told = stream([TEXT[:40], TEXT[40:]])
    assert [name for name, _ in told] == ["start", "delta", "file", "delta", "file", "done"]
    assert told[0][1] == {"requestId": "req-1", "cache": "miss", "provider": "openai", "model": "gpt-4o"}
    assert told[1][1] == {"text": TEXT[:40]}
    assert told[2][1] == {"path": "src/a.py", "language": "python", "content": "print(1)\n"}
    assert told[-1][1] == json.loads(render(entry_of(ANSWER), FACTS))


def test_a_file_that_only_the_end_completes_is_told_before_the_end() -> None:
    text = "```python a.py\nprint(1)\n"
    told = stream([text], replace(ANSWER, text=text))
    assert [name for name, _ in told] == ["start", "delta", "file", "done"]


def test_a_file_that_returns_to_what_it_was_is_told_again() -> None:
    text = "```python a.py\n1\n```\n```python a.py\n2\n```\n```python a.py\n1\n"
    told = stream([text], replace(ANSWER, text=text))
    assert [data["content"] for name, data in told if name == "file"] == ["1\n", "2\n", "1\n"]
    assert told[-1][1]["files"] == [told[-2][1]]


TEXTS = [
    TEXT,
    "no block at all",
    "",
    "~~~\nplain\n~~~",
    "# A\n**a.py**\n```\r\nx\r\n```\r\n\r\nFile: `b/c.go`\n````go\n```\ninner\n```\n````\n",
    "```python a.py\n1\n```\n```python a.py\n2\n```\n```python ../x\n3\n```\n```python a.py\n1",
    "😀 ```é.py\né\n```",
]


@settings(deadline=None)
@given(st.sampled_from(TEXTS), st.data())
def test_every_chunking_gives_the_same_files_and_the_same_answer(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    answer = replace(ANSWER, text=text)
    told, whole = stream(pieces, answer), stream([text], answer)
    assert "".join(data["text"] for name, data in told if name == "delta") == text
    assert [e for e in told if e[0] == "file"] == [e for e in whole if e[0] == "file"]
    assert told[-1] == whole[-1] == ("done", json.loads(render(entry_of(answer), FACTS)))
    final = {e["path"]: e for name, e in told if name == "file"}
    assert list(final.values()) == told[-1][1]["files"]


def test_a_stream_that_breaks_ends_with_the_error_body() -> None:
    writer = EventWriter()
    told = events(writer.piece(Delta("half")) + writer.error(ProviderFailed("It broke."), "req-1"))
    assert [name for name, _ in told] == ["delta", "error"]
    assert told[1][1] == json.loads(error_body(ProviderFailed("It broke."), "req-1"))


# Errors


def test_an_error_says_what_the_contract_says() -> None:
    assert json.loads(error_body(RateLimited("Please wait.", retry_after_s=60), "req-1")) == {
        "error": "Rate limit exceeded",
        "message": "Please wait.",
        "retryAfter": 60,
        "code": "rate_limited",
        "requestId": "req-1",
    }


def test_an_error_names_each_field() -> None:
    error = Invalid('a "bad" body', details=[Problem("prompt", "is required")])
    assert json.loads(error_body(error, "req-1")) == {
        "error": "Invalid request",
        "message": 'a "bad" body',
        "code": "invalid_request",
        "requestId": "req-1",
        "details": [{"field": "prompt", "problem": "is required"}],
    }


def test_an_answer_whose_cost_nobody_knows_does_not_look_free() -> None:
    def metadata(given: Answer) -> dict[str, Any]:
        whole: dict[str, Any] = json.loads(NATIVE.rendition(given) + b"}}")["metadata"]
        return whole

    usage = replace(ANSWER.usage, service_tier="priority")
    unknown = metadata(replace(ANSWER, usage=usage, priced=False, cost_nano=0))
    assert unknown["priced"] is False
    assert unknown["usage"]["serviceTier"] == "priority"
    assert "in the service tier 'priority'" in unknown["warnings"][0]
    assert "priced" not in metadata(ANSWER)
