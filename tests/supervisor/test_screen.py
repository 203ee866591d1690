"""The first screen and the model's progress, as they are read."""

import io
from pathlib import Path

import pytest

from askonce.config.paths import STATUS_NAME
from askonce.config.settings import Config, ProviderSettings, StaticKey
from askonce.localmodel.status import Status, write
from askonce.supervisor.screen import Screen, address, curl_line


def shown(config: Config) -> str:
    out = io.StringIO()
    screen = Screen(out)
    screen.ready(config, 3001)
    screen.ready(config, 3001)
    return out.getvalue()


def test_the_first_screen_says_where_how_and_with_what_and_only_once() -> None:
    text = shown(Config(data_dir="/data", providers=(ProviderSettings("openai", api_key="sk-secret"),)))
    assert text.count("answers at http://127.0.0.1:3001") == 1
    assert "/data" in text
    assert "models   openai" in text
    assert "OpenAI's at http://127.0.0.1:3001/v1, Anthropic's at http://127.0.0.1:3001, with the key `askonce`" in text
    assert "Ctrl-C" in text
    assert "sk-secret" not in text


def test_serving_others_shows_the_address_that_they_use() -> None:
    text = shown(Config(host="192.168.1.7", keys=(StaticKey("sk-12345678", "a"),)))
    assert "others   http://192.168.1.7:3001\n" in text
    assert "WARNING" not in text
    (line,) = [line for line in shown(Config(host="0.0.0.0", open=True)).splitlines() if "others" in line]
    assert line.endswith(":3001")
    assert "0.0.0.0" not in line
    assert "others" not in shown(Config())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7"])
def test_serving_others_without_keys_is_warned_of(host: str) -> None:
    assert "WARNING  there are no keys: whoever reaches this address spends" in shown(Config(host=host, open=True))
    assert "WARNING" not in shown(Config(open=True))


def test_the_line_to_copy_has_a_place_for_the_key_where_one_is_needed() -> None:
    assert "Authorization" not in curl_line(Config(), 1)
    line = curl_line(Config(keys=(StaticKey("sk-12345678", "a"),)), 1)
    assert "-H 'Authorization: Bearer YOUR_KEY'" in line
    assert "sk-12345678" not in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("host", "shown_as"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("[::1]", "[::1]"), ("box", "box")],
)
def test_the_address_is_one_that_can_be_asked_from_here(host: str, shown_as: str) -> None:
    assert address(Config(host=host), 80) == f"http://{shown_as}:80"


def test_fetching_is_told_by_tens_of_per_cent(tmp_path: Path) -> None:
    out = io.StringIO()
    screen = Screen(out)
    for done in range(0, 101, 2):
        write(tmp_path / STATUS_NAME, Status("fetching", done=done, total=100, detail="Fetching it.", pid=1))
        screen.weights(tmp_path)
    assert [line.split()[2] for line in out.getvalue().splitlines()] == [str(tens) for tens in range(0, 101, 10)]


def test_fetching_is_drawn_as_a_bar_on_a_terminal(tmp_path: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    screen = Screen(out)
    write(
        tmp_path / STATUS_NAME, Status("fetching", done=500_000_000, total=1_000_000_000, detail="Fetching it.", pid=1)
    )
    screen.weights(tmp_path)
    assert "[###############...............]  50% 500 of 1000 MB" in out.getvalue()
    write(tmp_path / STATUS_NAME, Status("ready", detail="Qwen.", pid=1))
    screen.weights(tmp_path)
    assert out.getvalue().endswith("\n  The embedded model is ready. Qwen.\n")


def test_that_nobody_reads_is_no_reason_to_stop(tmp_path: Path) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(text)

    screen = Screen(Gone())
    screen.ready(Config(), 3001)
    screen.weights(tmp_path)
    screen.close()
