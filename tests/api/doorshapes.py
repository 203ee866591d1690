"""The asking doors as their clients see them: what they send, and what the vendors' own libraries read of a reply.

Replies of the vendors' shapes are read twice: by the library's models, so that no required field is missing, and by
the library's client, as an application would.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import anthropic
import httpx
import httpx2
import openai
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.shared import ErrorResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response as WholeResponse
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter
from tests.api.conftest import Response

KEY = "key-of-the-caller-0123456789"
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
MODEL, SYSTEM, PROMPT, TOOL, LIMIT = "m", "Be brief.", "Hi", "weather", 99
_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
_ITEM_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)

Json = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """Hold what a client understood: text, calls as (id, name, arguments), tokens as (prompt, cached, completion)."""

    text: str
    calls: tuple[tuple[str, str, Any], ...]
    tokens: tuple[int, int, int]
    finish: str


class Door(Protocol):
    """Ask one door and understand it."""

    path: str
    offers_tools: bool

    def body(self, *, tools: bool, stream: bool) -> Json:
        """Write a question."""
        ...

    def told(self, reply: Response, *, stream: bool) -> Told:
        """Read an answer; fails where it is not a valid one."""
        ...

    def refused(self, reply: Response) -> str:
        """Read a refusal; returns its sentence."""
        ...

    def broken(self, reply: Response) -> tuple[str, str]:
        """Read a stream that ends with an error; returns the text until then and the error's sentence."""
        ...


class Generate:
    """Ask as our own clients do."""

    path, offers_tools = "/llm/generate", False

    def body(self, *, tools: bool, stream: bool) -> Json:
        return {"model": MODEL, "system": SYSTEM, "prompt": PROMPT, "maxTokens": LIMIT, "stream": stream}

    def told(self, reply: Response, *, stream: bool) -> Told:
        whole = reply.json if not stream else events(reply)[-1][1]
        if stream:
            assert [events(reply)[0][0], events(reply)[-1][0]] == ["start", "done"]
            assert self._text(reply).strip() in ("", whole["code"].strip())  # blank ends are no code
        usage = whole["metadata"]["usage"]
        assert usage["totalTokens"] == usage["promptTokens"] + usage["completionTokens"]
        tokens = (usage["promptTokens"], usage.get("cachedTokens", 0), usage["completionTokens"])
        return Told(whole["code"], (), tokens, whole["metadata"]["finishReason"])

    def refused(self, reply: Response) -> str:
        return self._sentence(reply.json, reply)

    def broken(self, reply: Response) -> tuple[str, str]:
        name, data = events(reply)[-1]
        assert name == "error"
        return self._text(reply), self._sentence(data, reply)

    def _text(self, reply: Response) -> str:
        return "".join(data["text"] for name, data in events(reply) if name == "delta")

    def _sentence(self, error: Json, reply: Response) -> str:
        assert {"error", "message", "code", "requestId"} <= error.keys()
        assert error["requestId"] == reply.headers["x-request-id"]
        return str(error["message"])


class Chat:
    """Ask as OpenAI's library does."""

    path, offers_tools = "/v1/chat/completions", True

    def body(self, *, tools: bool, stream: bool) -> Json:
        told: Json = {
            "model": MODEL,
            "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}],
            "max_tokens": LIMIT,
        }
        if tools:
            function = {"name": TOOL, "description": "Tell it.", "parameters": PARAMETERS}
            told["tools"] = [{"type": "function", "function": function}]
        return told | ({"stream": True, "stream_options": {"include_usage": True}} if stream else {})

    def told(self, reply: Response, *, stream: bool) -> Told:
        if stream:
            chunks = self._chunks(reply)
            assert lines(reply)[-1] == "data: [DONE]"
            assert chunks[-1].usage is not None
            assert len({chunk.id for chunk in chunks}) == 1
            with client_of(openai.OpenAI, httpx, reply).chat.completions.stream(model=MODEL, messages=[]) as streaming:
                whole: ChatCompletion = streaming.get_final_completion()
        else:
            whole = ChatCompletion.model_validate(reply.json, strict=False)
        (choice,) = whole.choices
        assert whole.usage is not None
        assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
        assert whole.usage.prompt_tokens_details is not None
        tokens = (
            whole.usage.prompt_tokens,
            whole.usage.prompt_tokens_details.cached_tokens or 0,
            whole.usage.completion_tokens,
        )
        calls = tuple(
            (call.id, call.function.name, json.loads(call.function.arguments))
            for call in choice.message.tool_calls or ()
            if call.type == "function"
        )
        return Told(choice.message.content or "", calls, tokens, choice.finish_reason)

    def refused(self, reply: Response) -> str:
        return _openai_sentence(reply.json)

    def broken(self, reply: Response) -> tuple[str, str]:
        text, client = "", client_of(openai.OpenAI, httpx, reply)
        _openai_sentence(json.loads(lines(reply)[-1].removeprefix("data: ")))
        try:
            for chunk in client.chat.completions.create(model=MODEL, messages=[], stream=True):
                text += "".join(choice.delta.content or "" for choice in chunk.choices)
        except openai.APIError as error:
            return text, error.message
        raise AssertionError("the library took a broken stream for a whole one")

    def _chunks(self, reply: Response) -> list[ChatCompletionChunk]:
        data = [line.removeprefix("data: ") for line in lines(reply)]
        return [ChatCompletionChunk.model_validate_json(one, strict=False) for one in data if one != "[DONE]"]


class Messages:
    """Ask as Anthropic's library does."""

    path, offers_tools = "/v1/messages", True

    def body(self, *, tools: bool, stream: bool) -> Json:
        told: Json = {
            "model": MODEL,
            "system": SYSTEM,
            "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": LIMIT,
        }
        if tools:
            told["tools"] = [{"name": TOOL, "description": "Tell it.", "input_schema": PARAMETERS}]
        return told | ({"stream": True} if stream else {})

    def told(self, reply: Response, *, stream: bool) -> Told:
        if stream:
            kinds = [_EVENT.validate_python(data, strict=False).type for name, data in events(reply) if name != "ping"]
            assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
            client = client_of(anthropic.Anthropic, httpx2, reply)
            with client.messages.stream(model=MODEL, max_tokens=LIMIT, messages=[]) as streaming:
                whole: Message = streaming.get_final_message()
        else:
            whole = Message.model_validate(reply.json, strict=False)
        text = "".join(block.text for block in whole.content if block.type == "text")
        calls = tuple((block.id, block.name, block.input) for block in whole.content if block.type == "tool_use")
        cached = whole.usage.cache_read_input_tokens or 0
        prompt = whole.usage.input_tokens + cached + (whole.usage.cache_creation_input_tokens or 0)
        finish = {"end_turn": "stop", "tool_use": "tool_calls"}[str(whole.stop_reason)]
        return Told(text, calls, (prompt, cached, whole.usage.output_tokens), finish)

    def refused(self, reply: Response) -> str:
        return self._sentence(reply.json, reply)

    def broken(self, reply: Response) -> tuple[str, str]:
        text, client = "", client_of(anthropic.Anthropic, httpx2, reply)
        said = self._sentence(events(reply)[-1][1], reply)
        try:
            with client.messages.stream(model=MODEL, max_tokens=LIMIT, messages=[]) as streaming:
                for piece in streaming.text_stream:
                    text += piece
        except anthropic.APIError:
            return text, said
        raise AssertionError("the library took a broken stream for a whole one")

    def _sentence(self, body: Json, reply: Response) -> str:
        assert body["request_id"] == reply.headers["x-request-id"]
        return ErrorResponse.model_validate(body, strict=False).error.message


class Responses:
    """Ask as OpenAI's library does over its newer door."""

    path, offers_tools = "/v1/responses", True

    def body(self, *, tools: bool, stream: bool) -> Json:
        told: Json = {"model": MODEL, "instructions": SYSTEM, "input": PROMPT, "max_output_tokens": LIMIT}
        if tools:
            told["tools"] = [{"type": "function", "name": TOOL, "description": "Tell it.", "parameters": PARAMETERS}]
        return told | ({"stream": True} if stream else {})

    def told(self, reply: Response, *, stream: bool) -> Told:
        if stream:
            kinds = [_ITEM_EVENT.validate_python(data, strict=False).type for _, data in events(reply)]
            assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
            with client_of(openai.OpenAI, httpx, reply).responses.stream(model=MODEL, input="") as streaming:
                whole: WholeResponse = streaming.get_final_response()
        else:
            whole = WholeResponse.model_validate(reply.json, strict=False)
        assert whole.status == "completed"
        assert whole.usage is not None
        assert whole.usage.total_tokens == whole.usage.input_tokens + whole.usage.output_tokens
        called = [item for item in whole.output if item.type == "function_call"]
        return Told(
            whole.output_text,
            tuple((item.call_id, item.name, json.loads(item.arguments)) for item in called),
            (whole.usage.input_tokens, whole.usage.input_tokens_details.cached_tokens, whole.usage.output_tokens),
            "tool_calls" if called else "stop",
        )

    def refused(self, reply: Response) -> str:
        return _openai_sentence(reply.json)

    def broken(self, reply: Response) -> tuple[str, str]:
        text, client = "", client_of(openai.OpenAI, httpx, reply)
        failed = next(data for name, data in events(reply) if name == "response.failed")
        WholeResponse.model_validate(failed["response"], strict=False)
        try:
            for event in client.responses.create(model=MODEL, input="", stream=True):
                text += event.delta if event.type == "response.output_text.delta" else ""
        except openai.APIError as error:
            return text, error.message
        raise AssertionError("the library took a broken stream for a whole one")


def _openai_sentence(body: Json) -> str:
    return openai.types.ErrorObject.model_validate(body["error"], strict=False).message


def lines(reply: Response) -> list[str]:
    """Return the lines of a stream that hold something."""
    return [line for line in reply.body.decode().split("\n") if line]  # and at no other break that Unicode knows


def events(reply: Response) -> list[tuple[str, Any]]:
    """Return a stream's events by name; comments are none."""
    named = [line for line in lines(reply) if not line.startswith(":")]
    pairs = zip(named[::2], named[1::2], strict=True)
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in pairs]


def client_of(library: Callable[..., Any], http: Any, reply: Response) -> Any:
    """Make a library's client, over the HTTP library that it wants, that is given this reply whatever it asks."""

    def given(request: object) -> Any:
        return http.Response(reply.status, headers=reply.headers, content=reply.body)

    transport = http.Client(transport=http.MockTransport(given))
    return library(api_key=KEY, base_url="http://gateway", http_client=transport, max_retries=0)


DOORS: tuple[Door, ...] = (Generate(), Chat(), Messages(), Responses())
