"""How single values are read: keys that guard, spans and sizes in words."""

import pytest

from askonce.config import values
from askonce.config.load import load
from askonce.domain.errors import ConfigError


@pytest.mark.parametrize("slip", [",", " , ,", "   ", [""], ["", " "]])
def test_a_list_of_keys_without_a_key_is_refused_as_it_would_leave_the_door_open(slip: values.Raw) -> None:
    with pytest.raises(ValueError, match="at least one key"):
        values.static_keys(slip)


@pytest.mark.parametrize("nothing", ["", []])
def test_no_keys_at_all_is_said_by_an_empty_value(nothing: values.Raw) -> None:
    assert values.static_keys(nothing) == ()


@pytest.mark.parametrize("slip", [",", " "])
def test_the_variable_of_the_keys_fails_closed(slip: str) -> None:
    with pytest.raises(ConfigError, match=r"keys = \(hidden\) \(environment ASKONCE_KEYS\): must be at least one key"):
        load({}, {"ASKONCE_KEYS": slip}, None)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("a:sk-12345678,a:key-one", "key 2 (key…) is not, its length is 7"),
        ("short", "key 1 (sho…) is not, its length is 5"),
        ("team:", "key 1 (…) is not, its length is 0"),
        ("sk-12345678,sk-1234 5678", "key 2 (sk-…) is not, its length is 12"),
        ("sk-12345678,bad tenant:sk-abcdefgh", "that of key 2 is not so"),
    ],
)
def test_a_wrong_key_is_named_by_its_place_and_beginning_only(written: str, says: str) -> None:
    with pytest.raises(ValueError, match="key") as refused:
        values.static_keys(written)
    assert says in str(refused.value)
    assert "5678" not in str(refused.value)


@pytest.mark.parametrize(
    ("seconds", "word"),
    [(0, "0s"), (0.05, "50ms"), (0.1, "100ms"), (1, "1s"), (90, "90s"), (3600, "1h"), (31_536_000, "365d")],
)
def test_a_span_is_written_as_it_may_be_set(seconds: float, word: str) -> None:
    assert values.span_word(seconds) == word
    assert values.duration(0, 1e9)(word) == seconds


@pytest.mark.parametrize("word", ["0", "1", "4KiB", "1MiB", "2GiB", "512MB", "100TB", "1048576TiB"])
def test_a_size_is_written_as_it_may_be_set(word: str) -> None:
    assert values.size_word(values.size(0, 1 << 60)(word)) == word  # type: ignore[arg-type]


def test_bounds_are_told_in_words() -> None:
    with pytest.raises(ConfigError, match="from 1s to 3650d, such as"):
        load({}, {"ASKONCE_CACHE_TTL": "0"}, None)
    with pytest.raises(ConfigError, match="from 1MiB to "):
        load({}, {"ASKONCE_CACHE_SIZE": "1"}, None)


@pytest.mark.parametrize(("written", "days"), [("30d", 30), (" 1 D ", 1), ("forever", 0), (0, 0), ("36500d", 36_500)])
def test_an_age_is_whole_days_or_for_ever(written: values.Raw, days: int) -> None:
    assert values.days(written) == days


@pytest.mark.parametrize("written", ["0d", "30", "1.5d", "12h", "-1d", "36501d", "", True, ["1d"]])
def test_what_is_no_age_is_refused_with_an_example(written: values.Raw) -> None:
    with pytest.raises(ValueError, match="such as 30d"):
        values.days(written)


@pytest.mark.parametrize("written", ["", "https://example.com/hook?x=1", " http://127.0.0.1:9/h ", "http://[::1]/"])
def test_a_web_address_is_taken_as_it_is(written: str) -> None:
    assert values.web_address(written) == written.strip()


@pytest.mark.parametrize(
    "written", ["example.com", "ftp://x", "https://", "http://[::1", "https://h:99999/", "https://a b/"]
)
def test_what_is_no_web_address_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="an address such as"):
        values.web_address(written)
