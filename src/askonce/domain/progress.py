"""How much of an answer has been passed on as pieces, and what is left of it."""

from askonce.domain.answer import Answer, Delta, Piece, ThinkingDelta, ToolDelta
from askonce.domain.content import Text, Thinking, ToolCall


class Progress:
    """Add pieces up; then say which pieces make the whole answer of them."""

    def __init__(self) -> None:
        self._text = 0
        self._thoughts = 0
        self._signatures = 0
        self._arguments: dict[int, int] = {}

    @property
    def nothing(self) -> bool:
        """Say whether no piece has been seen."""
        return not (self._text or self._thoughts or self._signatures or self._arguments)

    def add(self, piece: Piece) -> None:
        """Note a piece that was passed on."""
        if isinstance(piece, Delta):
            self._text += len(piece.text)
        elif isinstance(piece, ThinkingDelta):
            self._thoughts += len(piece.text)
            self._signatures += bool(piece.signature or piece.redacted)
        else:
            self._arguments[piece.index] = self._arguments.get(piece.index, 0) + len(piece.arguments)

    def rest(self, answer: Answer) -> list[Piece]:
        """Return what of the answer has not been passed on, in order; everything where nothing was."""
        left: list[Piece] = []
        text, thoughts, signatures, calls = self._text, self._thoughts, self._signatures, 0
        for part in answer.parts or (Text(answer.text),):
            if isinstance(part, Text):
                if part.text[text:]:
                    left.append(Delta(part.text[text:]))
                text = max(0, text - len(part.text))
            elif isinstance(part, Thinking):
                signed = bool(part.signature or part.redacted)
                signature, redacted = ("", "") if signatures else (part.signature, part.redacted)
                if part.text[thoughts:] or signature or redacted:
                    left.append(ThinkingDelta(part.text[thoughts:], signature, redacted))
                thoughts = max(0, thoughts - len(part.text))
                signatures = max(0, signatures - signed)
            elif isinstance(part, ToolCall):
                left += self._rest_of_call(part, calls)
                calls += 1
        return left

    def _rest_of_call(self, call: ToolCall, index: int) -> list[Piece]:
        seen = self._arguments.get(index)
        if seen is None:
            return [ToolDelta(index, call.id, call.name, call.arguments)]
        return [ToolDelta(index, arguments=call.arguments[seen:])] if call.arguments[seen:] else []


def pieces_of(answer: Answer) -> list[Piece]:
    """Return a whole answer as pieces, one per part."""
    return Progress().rest(answer)
