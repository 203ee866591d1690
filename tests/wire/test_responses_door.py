"""Replies of `POST /v1/responses`, held against the types of the official library and against what chat says."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter
from tests.wire.openaishapes import answers, begun
from tests.wire.test_openai_door import CALLING, CITED, PLAIN, REFUSED, SEALED, STORED_MS, THOUGHT, USAGE, asked
from tests.wire.test_openai_door import entry as stored
from tests.wire.test_openai_door import facts as chat_facts

from askonce.domain.answer import Answer, CacheState, Delta, Entry, Piece, ThinkingDelta, ToolDelta, pack
from askonce.domain.call import Ask, CacheWish, Message
from askonce.domain.content import Foreign, Text, Thinking, ToolCall, canonical_json
from askonce.domain.errors import Detail, Invalid, ProviderBusy, ProviderFailed
from askonce.wire.door import Facts
from askonce.wire.openai_door import CHAT
from askonce.wire.responses_door import NAME, RESPONSES
from askonce.wire.sse import Decoder

# Where the shapes come from.
OBJECT = "https://developers.openai.com/api/reference/resources/responses/methods/retrieve"
EVENTS = "https://developers.openai.com/api/reference/resources/responses/streaming-events"
REASONING = "https://developers.openai.com/api/docs/guides/reasoning"
CALLS = "https://developers.openai.com/api/docs/guides/function-calling"

NOW_MS = 1_800_000_000_000
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def ask(**fields: Any) -> Ask:
    return RESPONSES.read(json.dumps({"model": "m", "input": "Hi"} | fields).encode(), "t", CacheWish())


def facts(of: Ask, state: CacheState = "miss") -> Facts:
    return Facts(state, 0, 5, "rq1", of, "p", "m", now_ms=NOW_MS)


def entry(answer: Answer, *, rendered: bool = False) -> Entry:
    shape, rendition = (NAME, RESPONSES.rendition(answer)) if rendered else ("", b"")
    return Entry(b"k" * 32, "t", "p", "m", STORED_MS, STORED_MS + 1, 0, 9, 3, pack(answer), shape, rendition)


def plain(answer: Answer, **fields: Any) -> dict[str, Any]:
    body = RESPONSES.render(entry(answer), facts(ask(**fields)))
    Response.model_validate_json(body, strict=True)
    return json.loads(body)  # type: ignore[no-any-return]


def streamed(answer: Answer, pieces: list[Piece], state: CacheState = "miss", **fields: Any) -> list[dict[str, Any]]:
    of = ask(stream=True, **fields)
    writer = RESPONSES.writer(of)
    sent = writer.start(facts(of, state)) + b"".join(map(writer.piece, pieces)) + writer.still_here()
    return events(sent + writer.done(entry(answer), facts(of, state)))


def events(sent: bytes) -> list[dict[str, Any]]:
    found = []
    for number, event in enumerate(Decoder().feed(sent)):
        data = json.loads(event.data)
        assert (data["type"], data["sequence_number"]) == (event.event, number)
        EVENT.validate_json(event.data, strict=True)
        found.append(data)
    return found


def kinds(told: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in told]


TEXT = {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}


def test_a_whole_reply() -> None:
    """Source: OBJECT."""
    assert plain(PLAIN) == {
        "id": "resp_rq1",
        "created_at": 1_700_000_000,
        "object": "response",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "m-1",
        "output": [
            {"id": "msg_rq1_0", "type": "message", "status": "completed", "role": "assistant", "content": [TEXT]}
        ],
        "usage": {
            "input_tokens": 9,
            "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
            "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": 12,
        },
        "background": False,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "store": False,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "user": None,
    }


def test_a_reply_repeats_its_request() -> None:
    """Source: OBJECT."""
    schema = {"type": "object", "properties": {}}
    fields: dict[str, Any] = {
        "instructions": "Be brief.",
        "max_output_tokens": 9,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "temperature": 0.5,
        "tool_choice": {"type": "function", "name": "look"},
        "top_p": 0.25,
        "user": "me",
    }
    tool = {"type": "function", "name": "look", "parameters": schema}
    form = {"type": "json_schema", "name": "x", "schema": schema, "strict": True}
    told = plain(
        PLAIN,
        **fields,
        tools=[tool],
        store=True,
        text={"format": form, "verbosity": "low"},
        reasoning={"effort": "low"},
    )
    assert {name: told[name] for name in fields} == fields
    assert told["tools"] == [tool | {"description": None, "strict": None}]
    assert told["text"] == {"format": form, "verbosity": "low"}
    assert told["reasoning"] == {"effort": "low", "summary": None}
    assert told["store"] is False


CITED_HERE = {"type": "url_citation", "start_index": 0, "end_index": 1, "title": "x", "url": "https://x"}
PATCH = {"name": "apply_patch", "input": "*** Begin\n"}
PATCHING = Answer(
    "So.", "tool_calls", USAGE, "p", "m", "m-1",
    parts=(
        Text("So."),
        ToolCall("call_a", "look", "{}"),
        Foreign("openai", "tool_calls", canonical_json({"id": "call_b", "type": "custom", "custom": PATCH})),
        Foreign(
            "openai", "tool_calls",
            canonical_json({"id": "call_c", "type": "custom", "custom": {"name": "stop", "input": ""}}),
        ),
    ),
)  # fmt: skip
DETAILED = Answer(
    "4", "stop", USAGE, "p", "m", "m-1",
    parts=(Thinking("Hm"), Text("4"), Foreign("openai", "message.reasoning_details", canonical_json([{"a": 1}]))),
)  # fmt: skip


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "message", "status": "completed", "role": "assistant"} | {"content": [TEXT | {"text": text} | more]}


def thought(*summary: str, **more: Any) -> dict[str, Any]:
    parts = [{"type": "summary_text", "text": text} for text in summary]
    return {"type": "reasoning", "status": "completed", "summary": parts} | more


def call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    told = {"call_id": call_id, "name": name, "arguments": arguments}
    return {"type": "function_call", "status": "completed"} | told


def custom(call_id: str, name: str, text: str) -> dict[str, Any]:
    told = {"call_id": call_id, "name": name, "input": text}
    return {"type": "custom_tool_call", "status": "completed"} | told


ITEMS = [
    pytest.param(
        PATCHING,
        [
            said("So."),
            call("call_a", "look", "{}"),
            custom("call_b", PATCH["name"], PATCH["input"]),
            custom("call_c", "stop", ""),
        ],
        id=f"{CALLS} (custom tools)",
    ),
    pytest.param(THOUGHT, [thought("Hm"), said("4")], id=REASONING),
    pytest.param(CALLING, [call("call_a", "look", '{"at": 1}'), call("call_b", "wait", "")], id=CALLS),
    pytest.param(
        SEALED,
        [thought("Hm", encrypted_content="signature.sig"), thought(encrypted_content="redacted.x"), said("4")],
        id=f"{REASONING} (encrypted_content)",
    ),
    pytest.param(
        DETAILED,
        [thought("Hm"), said("4"), thought(encrypted_content='details.[{"a":1}]')],
        id=f"{REASONING} (a list)",
    ),
    pytest.param(REFUSED, [said("") | {"content": [{"type": "refusal", "refusal": "No."}]}], id=f"{OBJECT} (refusal)"),
    pytest.param(
        Answer("x", "stop", USAGE, "p", "m", "m-1", parts=(Text("x"), CITED)),
        [said("x", annotations=[CITED_HERE])],
        id=f"{OBJECT} (annotations)",
    ),
    pytest.param(Answer("", "stop", USAGE, "p", "m", "m-1"), [said("")], id="nothing"),
]


@pytest.mark.parametrize(("answer", "items"), ITEMS)
def test_items_of_replies(answer: Answer, items: list[dict[str, Any]]) -> None:
    told = plain(answer)["output"]
    assert [item.pop("id")[-1] for item in told] == [str(at) for at in range(len(told))]
    assert told == items


@pytest.mark.parametrize(("answer", "items"), ITEMS)
def test_items_of_replays(answer: Answer, items: list[dict[str, Any]]) -> None:
    *_, last = streamed(answer, [], "hit")
    assert last["response"] == plain(answer)
    assert items


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_did_not_come_to_its_end_is_incomplete(finish: Any, reason: str) -> None:
    """Source: OBJECT, `incomplete_details`."""
    answer = msgspec.structs.replace(THOUGHT, finish=finish)
    told = plain(answer)
    assert (told["status"], told["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert [item["status"] for item in told["output"]] == ["completed", "incomplete"]
    *_, last = streamed(answer, [])
    assert (last["type"], last["response"]["output"]) == ("response.incomplete", told["output"])


def test_text_streams_in_this_order() -> None:
    """Source: EVENTS."""
    told = streamed(PLAIN, [Delta("Hel"), Delta("lo")])
    place = {"item_id": "msg_rq1_0", "output_index": 0, "content_index": 0}
    item = {"id": "msg_rq1_0", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
    done = item | {"status": "completed", "content": [TEXT]}
    for number, event in enumerate(told):
        assert event.pop("sequence_number") == number
    assert told[2:-1] == [
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **place, "part": TEXT | {"text": ""}},
        {"type": "response.output_text.delta", **place, "delta": "Hel", "logprobs": []},
        {"type": "response.output_text.delta", **place, "delta": "lo", "logprobs": []},
        {"type": "response.output_text.done", **place, "text": "Hello", "logprobs": []},
        {"type": "response.content_part.done", **place, "part": TEXT},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
    ]
    begun, going, end = told[0], told[1], told[-1]
    assert (begun["type"], going["type"], end["type"]) == (
        "response.created",
        "response.in_progress",
        "response.completed",
    )
    assert begun["response"] == going["response"]
    assert begun["response"] == end["response"] | {
        "status": "in_progress",
        "model": "m",
        "output": [],
        "usage": None,
    }
    assert end["response"] == plain(PLAIN) | {"created_at": NOW_MS // 1000}


def test_thoughts_and_calls_stream_in_this_order() -> None:
    """Source: EVENTS."""
    parts = (Thinking("Hm", "sig"), *CALLING.parts)
    answer = msgspec.structs.replace(CALLING, parts=parts)
    pieces: list[Piece] = [
        ThinkingDelta("H"),
        ThinkingDelta("m", "sig"),
        ToolDelta(0, "call_a", "look"),
        ToolDelta(0, arguments='{"at": 1}'),
        ToolDelta(1, "call_b", "wait"),
    ]
    expected = [
        "output_item.added reasoning_summary_part.added reasoning_summary_text.delta reasoning_summary_text.delta "
        "reasoning_summary_text.done reasoning_summary_part.done output_item.done",
        "output_item.added function_call_arguments.delta",
        "function_call_arguments.done output_item.done",
        "output_item.added",
        "function_call_arguments.done output_item.done",
    ]
    first, begins, ends, second, end = (part.split() for part in expected)
    live = kinds(streamed(answer, pieces))[2:-1]
    assert live == [*first, *begins, *second, *ends, *end]
    once = [kind for kind in first if kind != "reasoning_summary_text.delta"]
    once.insert(2, "reasoning_summary_text.delta")
    assert kinds(streamed(answer, [], "hit"))[2:-1] == [*once, *begins, *ends, *second, *end]


def test_calls_of_custom_tools_stream_in_this_order() -> None:
    """Source: EVENTS (response.custom_tool_call_input)."""
    told = streamed(PATCHING, [Delta("So."), ToolDelta(0, "call_a", "look", "{}")])
    at = kinds(told).index("custom_tool_call_input.delta")
    place = {"item_id": "ctc_rq1_2", "output_index": 2}
    item = {"id": "ctc_rq1_2"} | custom("call_b", PATCH["name"], PATCH["input"])
    events = [{k: v for k, v in event.items() if k != "sequence_number"} for event in told[at - 1 : at + 3]]
    assert events == [
        {
            "type": "response.output_item.added",
            "output_index": 2,
            "item": item | {"status": "in_progress", "input": ""},
        },
        {"type": "response.custom_tool_call_input.delta", **place, "delta": PATCH["input"]},
        {"type": "response.custom_tool_call_input.done", **place, "input": PATCH["input"]},
        {"type": "response.output_item.done", "output_index": 2, "item": item},
    ]
    assert kinds(told)[at + 3 :] == [
        "output_item.added", "custom_tool_call_input.done", "output_item.done", "completed",
    ]  # fmt: skip


def test_calls_of_custom_tools_come_back_as_chat_would_bring_them() -> None:
    reply = json.loads(CHAT.render(stored(PATCHING), chat_facts(asked())))["choices"][0]["message"]
    assert asked(messages=[reply]).call.messages == ask(input=plain(PATCHING)["output"]).call.messages


def test_calls_that_come_side_by_side_are_each_whole() -> None:
    pieces: list[Piece] = [
        ToolDelta(0, "call_a", "look", '{"at'),
        ToolDelta(1, "call_b", "wait"),
        ToolDelta(0, arguments='": 1}'),
    ]
    *_, last = streamed(CALLING, pieces)
    assert last["response"]["output"] == plain(CALLING)["output"]


@given(st.data(), st.lists(st.sampled_from(["", "{}", '{"at":1}']), min_size=1, max_size=3))
@settings(deadline=None)
def test_every_delta_goes_to_an_open_item_however_calls_are_interleaved(data: st.DataObject, given: list[str]) -> None:
    called = [ToolCall(f"c{index}", "look", arguments) for index, arguments in enumerate(given)]
    answer = Answer("So.", "tool_calls", USAGE, "p", "m", "m", parts=(Text("So."), *called))
    pieces: list[Piece] = [ToolDelta(index, call.id, call.name) for index, call in enumerate(called)]
    letters = [ToolDelta(index, arguments=one) for index, call in enumerate(called) for one in call.arguments]
    order = data.draw(st.permutations(range(len(letters))))
    # Each call's own letters stay in their order.
    queues = {index: iter([letter for letter in letters if letter.index == index]) for index in range(len(called))}
    pieces += [next(queues[letters[at].index]) for at in order]
    told = streamed(answer, pieces[: data.draw(st.integers(0, len(pieces)))])
    is_open: dict[int, bool] = {}
    for event in told:
        at = event.get("output_index")
        if event["type"] == "response.output_item.added":
            assert at == len(is_open)
            is_open[at] = True
        elif at is not None:
            assert is_open[at]
            is_open[at] = event["type"] != "response.output_item.done"
    assert not any(is_open.values())


def test_a_refusal_that_went_out_as_text_is_told_after_it() -> None:
    *_, last = streamed(REFUSED, [Delta("No.")])
    (item,) = last["response"]["output"]
    assert [part["type"] for part in item["content"]] == ["output_text", "refusal"]


@given(st.data(), answers)
@settings(deadline=None)
def test_a_stream_comes_to_the_plain_reply_however_it_was_cut(data: st.DataObject, answer: Answer) -> None:
    pieces = data.draw(begun(answer))
    refused = any(isinstance(part, Foreign) and part.kind == "message.refusal" for part in answer.parts)
    if refused:
        pieces = [piece for piece in pieces if not isinstance(piece, Delta)]
    told = streamed(answer, pieces)
    assert told[-1]["response"] == plain(answer) | {"created_at": NOW_MS // 1000}
    items = {event["output_index"]: event["item"] for event in told if event["type"] == "response.output_item.done"}
    if not any(isinstance(part, Foreign) for part in answer.parts):  # citations come when the words may be done
        assert [items[at] for at in sorted(items)] == told[-1]["response"]["output"]


@given(answers)
@settings(deadline=None)
def test_an_answer_comes_back_as_chat_would_bring_it(answer: Answer) -> None:
    reply = json.loads(CHAT.render(stored(answer), chat_facts(asked())))["choices"][0]["message"]
    one = asked(messages=[{"role": "user", "content": "Hi"}, reply]).call.messages
    two = ask(input=[{"role": "user", "content": "Hi"}, *plain(answer)["output"]]).call.messages
    assert one == two


def test_a_list_that_seals_reasoning_comes_back_as_it_was() -> None:
    (message,) = ask(input=plain(DETAILED)["output"]).call.messages
    thinking, text, details = DETAILED.parts
    assert message == Message("assistant", (thinking, details, text))
    reply = json.loads(CHAT.render(stored(DETAILED), chat_facts(asked())))["choices"][0]["message"]
    assert asked(messages=[reply]).call.messages == (message,)


def test_a_rendition_has_the_requests_id_put_in() -> None:
    for answer in (PLAIN, CALLING, SEALED):
        of = facts(ask())
        assert RESPONSES.render(entry(answer, rendered=True), of) == RESPONSES.render(entry(answer), of)


def test_a_stream_that_breaks_fails_and_then_ends_with_the_error() -> None:
    """Source: EVENTS (response.failed, error)."""
    of = ask(stream=True)
    writer = RESPONSES.writer(of)
    sent = writer.start(facts(of)) + writer.piece(Delta("Hel"))
    *_, failed, last = events(sent + writer.error(ProviderFailed("V died."), "rq1"))
    assert failed["type"] == "response.failed"
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"] == {"code": "server_error", "message": "V died."}
    (item,) = failed["response"]["output"]
    assert (item["status"], item["content"][0]["text"]) == ("incomplete", "Hel")
    assert (last["type"], last["code"], last["message"], last["param"]) == ("error", "provider_error", "V died.", None)
    assert last["error"]["message"] == "V died."


@pytest.mark.parametrize(
    ("error", "code"),
    [(ProviderBusy("x"), "rate_limit_exceeded"), (Invalid("x", details=[Detail("input", "x")]), "invalid_prompt")],
)
def test_failures_have_the_references_words(error: Any, code: str) -> None:
    """Source: OBJECT, `error.code`."""
    of = ask(stream=True)
    writer = RESPONSES.writer(of)
    *_, failed, _ = events(writer.start(facts(of)) + writer.error(error, "rq1"))
    assert failed["response"]["error"]["code"] == code


def test_signs_of_life_are_comments() -> None:
    assert Decoder().feed(RESPONSES.writer(ask()).still_here()) == []
