"""Secrets that are handed out: how keys and tokens look, and what is kept of them instead.

    ask_<id: 10>_<random: 40><checksum: 6>      a key, all of it in base62

The checksum is the CRC-32 of everything before it (the method of GitHub's tokens), so that a typing error is told
without a look-up, and scanners of source code tell a key from noise: `ask_[0-9A-Za-z]{10}_[0-9A-Za-z]{46}`.
40 letters are 238 bits. The id is public; it stays when the key is long gone.
"""

import hashlib
import hmac
import re
from random import Random, SystemRandom
from string import ascii_letters, digits
from zlib import crc32

BRAND = "ask_"
ID_LETTERS = 10
RANDOM_LETTERS = 40
CHECK_LETTERS = 6  # 62⁶ > 2³²
PREFIX_LETTERS = len(BRAND) + ID_LETTERS  # of a key, enough to recognise it
TOKEN_LETTERS = 43  # 256 bits
ALPHABET = digits + ascii_letters

_LETTERS = "[0-9A-Za-z]"
_KEY = re.compile(f"{BRAND}({_LETTERS}{{{ID_LETTERS}}})_{_LETTERS}{{{RANDOM_LETTERS + CHECK_LETTERS}}}")
_DICE = SystemRandom()
_PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)  # two letters at once: this is on the road


def mint_key(dice: Random = _DICE) -> str:
    """Make a new key."""
    body = f"{BRAND}{_draw(ID_LETTERS, dice)}_{_draw(RANDOM_LETTERS, dice)}"
    return body + _checksum(body)


def mint_token(dice: Random = _DICE) -> str:
    """Make an id of a session, a login link, or a word against forged requests: nothing but randomness."""
    return _draw(TOKEN_LETTERS, dice)


def mint_id(dice: Random = _DICE) -> str:
    """Make a public id."""
    return _draw(ID_LETTERS, dice)


def is_branded(text: str) -> bool:
    """Say whether this means to be one of our keys."""
    return text.startswith(BRAND)


def is_sound(text: str) -> bool:
    """Say whether this can be one of our keys at all: False is a typing error, or a piece that was cut off."""
    return _KEY.fullmatch(text) is not None and text[-CHECK_LETTERS:] == _checksum(text[:-CHECK_LETTERS])


def key_id(key: str) -> str:
    """Return a sound key's public id."""
    return key[len(BRAND) : PREFIX_LETTERS]


def key_digest(pepper: bytes, key: str) -> bytes:
    """Return what is kept of a key: HMAC-SHA256, 32 bytes. Without the pepper nobody can make or test one."""
    return hmac.digest(pepper, key.encode("utf-8", "surrogateescape"), "sha256")


def token_digest(token: str) -> bytes:
    """Return what is kept of a token: SHA-256. It has 256 bits of its own, so nobody finds it by trying."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def fingerprint(derived: bytes) -> str:
    """Name a derived key without telling it, so that what it made can be told from what another made."""
    return hmac.digest(derived, b"askonce fingerprint", "sha256")[:4].hex()


def _draw(letters: int, dice: Random) -> str:
    return "".join(dice.choice(ALPHABET) for _ in range(letters))


def _checksum(body: str) -> str:
    high, rest = divmod(crc32(body.encode()), len(_PAIRS) ** 2)
    middle, low = divmod(rest, len(_PAIRS))
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]
