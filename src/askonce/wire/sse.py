"""Server-sent events, both ways, after the WHATWG's "Server-sent events" (HTML, section 9.2), without I/O.

The decoder works on bytes: CR and LF are never part of a longer UTF-8 sequence, so lines can be cut before they are
decoded, and a value is decoded only if it is not ASCII.
"""

import codecs

from msgspec import Struct

# A vendor may send a whole answer, or an image in base64, in one line.
MAX_LINE_BYTES = 8 << 20
# One event's data, over all its lines; what a reader of many streams is ready to hold for one of them.
MAX_EVENT_BYTES = 16 << 20

MESSAGE = "message"  # the type of an event that names none


class SseTooLarge(ValueError):
    """Refuse a line or an event that is over its bound."""


class Event(Struct, frozen=True, gc=False):
    """Hold one event. `data` is valid UTF-8 with LF between its lines; `id` is the last one seen, or ""."""

    event: str
    data: bytes
    id: str = ""


def encode(event: str | None, data: bytes) -> bytes:
    """Write one event; `None` writes no type. Every line end in `data` arrives as LF.

    Raises ValueError where the type holds a line end: it would begin a field of its own.
    """
    if event is None:
        head = b""
    elif "\n" in event or "\r" in event:
        raise ValueError("an event's type holds a line end")
    else:
        head = b"event: " + event.encode() + b"\n"
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return head + b"data: " + data.replace(b"\n", b"\ndata: ") + b"\n\n"


class Decoder:
    """Turn the bytes of one stream into events, however they are cut.

    Comments, `retry` and unknown fields are passed over. An event that the end of the stream leaves open is dropped,
    as the standard has it. Once `SseTooLarge` was raised the stream cannot be read on.
    """

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._max_event_bytes = max_event_bytes
        self._max_plain_bytes = min(max_line_bytes, max_event_bytes)
        self._started = False  # is the place of a byte order mark behind us?
        self._after_cr = False  # did the last piece end with a CR, whose LF may follow?
        self._partial = bytearray()  # the beginning of a line
        self._data: bytes | bytearray | None = None
        self._event = ""
        self._id = ""

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that this piece completes. Raises SseTooLarge."""
        if not self._started or self._after_cr or b"\r" in chunk:
            chunk = self._only_lf(self._without_mark(chunk))
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if self._partial and lines:
            self._hold(lines[0])
            lines[0] = bytes(self._partial)
            self._partial.clear()
        events: list[Event] = []
        for line in lines:
            if not line:
                if self._data is not None:
                    events.append(self._take(self._data))
                self._event = ""
            elif self._data is None and line.startswith(b"data: ") and len(line) <= self._max_plain_bytes:
                self._data = line[6:]  # what nearly every line is
            else:
                self._read(line)
        if rest:
            self._hold(rest)
        return events

    def _hold(self, piece: bytes) -> None:
        """Keep a piece of a line that is not whole yet."""
        self._partial += piece
        if len(self._partial) > self._max_line_bytes:
            raise SseTooLarge(f"a line of the event stream is over {self._max_line_bytes} bytes")

    def _read(self, line: bytes) -> None:
        """Take in one line that is not blank."""
        if len(line) > self._max_line_bytes:
            raise SseTooLarge(f"a line of the event stream is over {self._max_line_bytes} bytes")
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._add(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")

    def _add(self, value: bytes) -> None:
        """Add a line to the event's data."""
        if self._data is None:
            self._data = value
        else:
            # Many small lines become one buffer, not many objects.
            joined = self._data if isinstance(self._data, bytearray) else bytearray(self._data)
            joined += b"\n"
            joined += value
            self._data = joined
        if len(self._data) > self._max_event_bytes:
            raise SseTooLarge(f"an event of the stream is over {self._max_event_bytes} bytes")

    def _take(self, data: bytes | bytearray) -> Event:
        """Make the event that a blank line ends."""
        self._data = None
        # Decoding replaces what is not UTF-8, as the standard has it.
        data = bytes(data) if data.isascii() else data.decode("utf-8", "replace").encode()
        return Event(self._event or MESSAGE, data, self._id)

    def _without_mark(self, chunk: bytes) -> bytes:
        """Drop a byte order mark from the stream's beginning, which may itself come in pieces."""
        if self._started:
            return chunk
        chunk = bytes(self._partial) + chunk
        self._partial.clear()
        if len(chunk) < len(codecs.BOM_UTF8) and codecs.BOM_UTF8.startswith(chunk):
            if chunk:
                self._hold(chunk)
            return b""
        self._started = True
        return chunk.removeprefix(codecs.BOM_UTF8)

    def _only_lf(self, chunk: bytes) -> bytes:
        """Turn CR LF and CR into LF. A CR ends its line at once; an LF that follows in the next piece is dropped."""
        if not chunk:
            return chunk
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
