"""What was asked and answered, as attributes of a span: told only where the operator has switched that on.

Shapes are the JSON of the semantic conventions for generative AI (`gen_ai.input.messages`, `gen_ai.output.messages`,
`gen_ai.system_instructions`), written as text, for collectors take no nested attributes yet. Pictures are told by their
kind, reasoning by what of it can be read. Long conversations lose their oldest messages, long texts their ends.
"""

import msgspec

from askonce.domain.answer import Answer
from askonce.domain.call import Call
from askonce.domain.content import Foreign, Image, Part, Text, Thinking, ToolCall, ToolResult, as_parts, text_of

TEXT_MAX = 16_384  # characters of one text
TEXTS_MAX = 65_536  # characters of all the messages of one call
_CUT = "… [cut]"
_FINISHES = {"tool_calls": "tool_call"}
_INSTRUCTING = ("system", "developer")

Spoken = dict[str, object]


def finish_reason(answer: Answer) -> str:
    """Return why an answer ended, in the conventions' word."""
    return _FINISHES.get(answer.finish, answer.finish)


def words_of(call: Call, answer: Answer) -> dict[str, str]:
    """Return the attributes that hold the words of a call, an unfinished one too."""
    told = {"gen_ai.input.messages": _json(_conversation(call))}
    instructions = [
        part for message in call.messages if message.role in _INSTRUCTING for part in _parts(message.content)
    ]
    if instructions:
        told["gen_ai.system_instructions"] = _json(instructions)
    if call.kind == "chat":
        parts = _parts(answer.parts or answer.text)
        said = {"role": "assistant", "parts": parts, "finish_reason": finish_reason(answer)}
        told["gen_ai.output.messages"] = _json([said])
    return told


def _conversation(call: Call) -> list[Spoken]:
    """Return the last messages, in order; the newest one always."""
    told: list[Spoken] = []
    room = TEXTS_MAX
    for message in reversed(call.messages):
        if message.role in _INSTRUCTING:
            continue
        room -= min(TEXT_MAX, len(text_of(message.content)))
        if told and room < 0:
            break
        told.append({"role": message.role, "parts": _parts(message.content)})
    told.reverse()
    return told


def _parts(content: str | tuple[Part, ...]) -> list[Spoken]:
    return [_part(part) for part in as_parts(content)]


def _part(part: Part) -> Spoken:
    match part:
        case Text(text):
            return {"type": "text", "content": _short(text)}
        case Thinking(text=text):
            return {"type": "reasoning", "content": _short(text)}
        case ToolCall(id=id, name=name, arguments=arguments):
            return {"type": "tool_call", "id": id, "name": name, "arguments": _arguments(arguments)}
        case ToolResult(call_id=id):
            return {"type": "tool_call_response", "id": id, "response": _short(text_of(part.content))}
        case Image(media_type=kind):
            return {"type": "image", **({"mime_type": kind} if kind else {})}
        case Foreign(kind=kind):
            return {"type": kind}


def _arguments(text: str) -> object:
    """Return arguments as the JSON that they are; as text where they are none, or long."""
    if len(text) > TEXT_MAX:
        return _short(text)
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _short(text: str) -> str:
    return text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + _CUT


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
