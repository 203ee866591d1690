"""Keys look as scanners expect, carry a checksum, and leave only keyed hashes behind."""

import hashlib
import hmac
import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.domain import credentials
from askonce.domain.credentials import ALPHABET, is_sound, key_digest, key_id, mint_key, mint_token, token_digest

SCANNED = re.compile(r"\bask_[0-9A-Za-z]{10}_[0-9A-Za-z]{46}\b")
KEY = mint_key(Random(1))


def test_a_key_is_found_in_text_and_is_sound() -> None:
    for _ in range(200):
        key = mint_key()
        assert SCANNED.findall(f'KEY="{key}"') == [key]
        assert is_sound(key)
        assert key.startswith(f"ask_{key_id(key)}_")


def test_keys_do_not_repeat_and_use_all_letters() -> None:
    keys = {mint_key() for _ in range(300)}
    assert len(keys) == 300
    assert {letter for key in keys for letter in key[4:14] + key[15:55]} == set(ALPHABET)


@given(st.integers(0, len(KEY) - 1), st.sampled_from(ALPHABET + "_ -é"))
def test_any_one_wrong_letter_is_told(place: int, letter: str) -> None:
    wrong = KEY[:place] + letter + KEY[place + 1 :]
    assert is_sound(wrong) == (wrong == KEY)


@pytest.mark.parametrize("place", range(len(KEY) - 1))
def test_two_letters_that_changed_places_are_told(place: int) -> None:
    swapped = KEY[:place] + KEY[place + 1] + KEY[place] + KEY[place + 2 :]
    assert is_sound(swapped) == (swapped == KEY)


@pytest.mark.parametrize("wrong", ["", "ask_", KEY[:-1], KEY + "0", " " + KEY, KEY + "\n", KEY.upper(), "sk-" + KEY])
def test_what_is_cut_or_longer_is_told(wrong: str) -> None:
    assert not is_sound(wrong)


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    assert not is_sound(text)
    assert len(key_digest(b"p" * 32, text)) == len(token_digest(text)) == 32


def test_the_digest_is_a_keyed_hash_of_the_whole_key() -> None:
    assert key_digest(b"pepper", KEY) == hmac.new(b"pepper", KEY.encode(), hashlib.sha256).digest()
    assert key_digest(b"pepper", KEY) != key_digest(b"Pepper", KEY)


def test_tokens_have_256_bits_and_leave_their_hash() -> None:
    tokens = {mint_token() for _ in range(300)}
    assert len(tokens) == 300
    assert all(re.fullmatch(r"[0-9A-Za-z]{43}", token) for token in tokens)
    assert len(ALPHABET) ** credentials.TOKEN_LETTERS >= 2**256
    assert token_digest("a") == hashlib.sha256(b"a").digest()


def test_the_checksum_has_room_for_every_crc() -> None:
    assert len(ALPHABET) ** credentials.CHECK_LETTERS > 2**32
