"""Text of others on a terminal: what could move the cursor, recolour or type for its user is left out."""

CONTROLS = frozenset((*range(0x20), *range(0x7F, 0xA0)))  # C0, DEL and C1 of ISO 6429
_LEFT_OUT = dict.fromkeys(CONTROLS - {ord("\n"), ord("\t")})


def harmless(text: str) -> str:
    """Drop all control characters but line feed and tab."""
    return text.translate(_LEFT_OUT)
