"""A provider that plays a script, for demos and tests. It exists where it is configured, and never stands in.

What comes from it is named as its own: provider `scripted`. Its errors go through the same table as a vendor's.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator

import msgspec

from askonce.domain.answer import Answer, Delta, Piece, ThinkingDelta, ToolDelta
from askonce.domain.call import Call
from askonce.domain.content import Part, Text, Thinking, ToolCall, text_of
from askonce.domain.errors import AskonceError, ProviderFailed, ProviderRejected, ProviderTimeout
from askonce.domain.usage import Usage
from askonce.providers.catalog import SCRIPTED
from askonce.providers.embeddings import answer_of
from askonce.providers.failures import Refusal, failure
from askonce.providers.script import Play, Script, ScriptedError
from askonce.providers.scripted_vectors import vectors
from askonce.providers.tokens import count_usage

TITLE = "The scripted provider"


class ScriptedProvider:
    """Play a script."""

    def __init__(self, script: Script) -> None:
        self.name = SCRIPTED
        self.drains = self.drains_plain = script.drains
        self._script = script
        self._played = [0] * len(script.play)

    async def ask(self, call: Call, model: str, deadline_s: float) -> AsyncIterator[Piece | Answer]:
        """Play one call, after counting it. Raises what the script says, and `ProviderTimeout` at the deadline."""
        started = time.monotonic()
        prompt = _last(call, "user")
        play = self._choose(prompt, model, call.messages[-1].role if call.messages else "", call.kind)
        wait = _Wait(started + deadline_s)
        await wait.ms(play.delay_ms)
        if play.hang:
            await wait.forever()
        if play.error is not None:
            raise _refusal(play.error, model)
        if play.dimensions is not None:
            usage = None if play.usage is None else await _usage(play, call, model, "")
            yield answer_of(
                call, vectors(call, play.dimensions), usage, (self.name, model, play.model_version), started
            )
            return
        texts: list[str] = []
        first_ms = 0
        for at, (piece, after_ms) in enumerate(_pieces(play, prompt, _last(call, "tool"), model)):
            if at == play.cut_after:
                break
            await wait.ms(after_ms)
            if isinstance(piece, Delta):
                texts.append(piece.text)
            first_ms = first_ms or _ms_since(started)
            if call.stream:
                yield piece
        if play.cut_after is not None:
            raise ProviderFailed(f"{TITLE} broke the answer off, as its script says.")
        whole = "".join(texts)
        parts = _parts(play, whole)
        yield Answer(
            text=whole,
            finish=play.ending,
            usage=await _usage(play, call, model, text_of(parts) or whole),
            provider=self.name,
            model=model,
            model_version=play.model_version or model,
            priced=False,
            took_ms=_ms_since(started),
            first_token_ms=first_ms,
            parts=parts,
        )

    async def probe(self) -> str:
        """Return "": a script is always there."""
        return ""

    async def models(self) -> tuple[str, ...]:
        """Return the names that the plays are for, in order."""
        return tuple(dict.fromkeys(play.model for play in self._script.play if play.model))

    def _choose(self, prompt: str, model: str, last: str, kind: str) -> Play:
        for at, play in enumerate(self._script.play):
            fits = play.model in ("", model) and play.last in ("", last) and play.contains in prompt
            fits = fits and (play.kind is None or play.kind == kind)
            if fits and (play.times is None or self._played[at] < play.times):
                self._played[at] += 1
                self._count(at, model)
                return play
        raise ProviderRejected(f"The script of the scripted provider has no play (left) for model {model!r}.")

    def _count(self, at: int, model: str) -> None:
        """Append one line in one write, so that lines of several processes never mix (POSIX, O_APPEND)."""
        if not self._script.count_file:
            return
        line = msgspec.json.encode({"pid": os.getpid(), "play": at + 1, "model": model}) + b"\n"
        handle = os.open(self._script.count_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)


def _last(call: Call, role: str) -> str:
    return next((text_of(message.content) for message in reversed(call.messages) if message.role == role), "")


def _pieces(play: Play, prompt: str, result: str, model: str) -> Iterator[tuple[Piece, int]]:
    """Yield an answer's pieces in order, each with the milliseconds before it. A call's arguments come in halves."""
    if play.thinking:
        yield ThinkingDelta(play.thinking), play.chunk_ms
    for chunk in play.pieces():
        text = chunk.text.replace("{prompt}", prompt).replace("{result}", result).replace("{model}", model)
        yield Delta(text), chunk.after_ms
    for index, call in enumerate(_calls(play)):
        half = len(call.arguments) // 2
        yield ToolDelta(index, call.id, call.name, call.arguments[:half]), play.chunk_ms
        yield ToolDelta(index, arguments=call.arguments[half:]), play.chunk_ms


def _calls(play: Play) -> list[ToolCall]:
    return [ToolCall(call.id or f"call_{at}", call.name, call.text()) for at, call in enumerate(play.tool_calls)]


def _parts(play: Play, text: str) -> tuple[Part, ...]:
    if not (play.thinking or play.tool_calls):
        return ()
    thoughts = [Thinking(play.thinking)] if play.thinking else []
    return (*thoughts, *([Text(text)] if text else []), *_calls(play))


class _Wait:
    """Wait as the script says, but never beyond the deadline."""

    def __init__(self, end: float) -> None:
        self._end = end

    async def ms(self, wait_ms: int) -> None:
        left_s = self._end - time.monotonic()
        await asyncio.sleep(max(min(wait_ms / 1000, left_s), 0))
        if wait_ms / 1000 > left_s:
            raise ProviderTimeout(f"{TITLE} did not answer in time.")

    async def forever(self) -> None:
        await asyncio.sleep(max(self._end - time.monotonic(), 0))
        raise ProviderTimeout(f"{TITLE} did not answer in time.")


def _refusal(error: ScriptedError, model: str) -> AskonceError:
    body = msgspec.json.encode({"error": {"code": error.code, "message": error.message}})
    return failure(Refusal(TITLE, model, error.status, body, "", error.retry_after_s))


async def _usage(play: Play, call: Call, model: str, text: str) -> Usage:
    if play.usage is None:
        return await count_usage(call, model, text)
    return Usage(play.usage.prompt_tokens, play.usage.completion_tokens, play.usage.cached_tokens)


def _ms_since(started: float) -> int:
    return max(round((time.monotonic() - started) * 1000), 1)
