"""An entry as bytes: one byte that names the format, then MessagePack, the whole of it compressed above 4 kB."""

import msgspec
import zstandard

from askonce.domain.answer import Entry

COMPRESS_ABOVE = 4096  # below, zstd saves less room than its time is worth
DECODED_MAX = 64 << 20  # four times the largest body that is accepted; what claims more is not ours
_LEVEL = 1  # 4 kB: 7 µs in, 3 µs out; higher levels cost more than they save

# The first byte: the high half is ours, the low half counts formats. A new layout takes new numbers.
_PLAIN_1 = 0xA1
_ZSTD_1 = 0xA2
_PLAIN_MARK = bytes((_PLAIN_1,))
_ZSTD_MARK = bytes((_ZSTD_1,))


class EntryCorrupt(Exception):
    """Report bytes that are not an entry in a format that we know."""


def encode(entry: Entry) -> bytes:
    """Write an entry as bytes; raises `ValueError` for one that could not be read back for its size."""
    plain = _encoder.encode(entry)
    if len(plain) <= COMPRESS_ABOVE:
        return _PLAIN_MARK + plain
    if len(plain) > DECODED_MAX:
        raise ValueError(f"an entry of {len(plain)} bytes is over the bound of {DECODED_MAX}")
    return _ZSTD_MARK + _compressor.compress(plain)


def decode(data: bytes) -> Entry:
    """Read an entry back; raises `EntryCorrupt`.

    The entry's `answer` points into a copy made here, never into `data`.
    """
    try:
        if data[0] == _PLAIN_1:
            return _decoder.decode(data[1:])
        if data[0] == _ZSTD_1:
            return _decoder.decode(_expand(data[1:]))
    except (IndexError, msgspec.DecodeError, zstandard.ZstdError) as error:
        raise EntryCorrupt(f"not an entry: {error}") from error
    raise EntryCorrupt(f"not an entry: format byte {data[0]:#04x} is not known")


def _expand(frame: bytes) -> bytes:
    """Decompress a frame that says its size, within the bound."""
    size = zstandard.get_frame_parameters(frame).content_size
    if not 0 < size <= DECODED_MAX:
        raise EntryCorrupt(f"not an entry: it claims {size} bytes")
    return _decompressor.decompress(frame, max_output_size=size)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)
_compressor = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True)
_decompressor = zstandard.ZstdDecompressor()
