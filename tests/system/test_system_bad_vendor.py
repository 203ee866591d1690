"""A vendor that hangs, closes early, talks nonsense or refuses everybody: what callers see, and what it is asked."""

import time
from collections.abc import Iterator
from itertools import count

import pytest
from tests.system.badvendor import BadVendor, bad_vendor
from tests.system.clients import Answered, at_once, run
from tests.system.houses import House

pytestmark = pytest.mark.process
# One try each, so that what is seen is the vendor; times a hundredth of the defaults.
SETTINGS = (
    'workers = 2\nlimit_llm = "off"\nlimit_standard = "off"\nfirst_byte_timeout = "1s"\nidle_timeout = "1s"\n'
    'total_timeout = "5s"\nledger_worker = "off"\ndefault_model = "openai:demo"\n'
)
SOON_S = 8.0
_numbers = count()


class Scene:
    def __init__(self, house: House, vendor: BadVendor) -> None:
        self.house = house
        self.vendor = vendor

    def ask(self, mode: str, **more: object) -> Answered:
        """Ask something new while the vendor behaves so; there is an answer within the bounds, whatever it does."""
        self.vendor.mode = mode
        began = time.monotonic()
        reply = self.house.ask(f"question {next(_numbers)}", **more)
        assert time.monotonic() - began < SOON_S
        return reply


@pytest.fixture(scope="module")
def bad() -> Iterator[BadVendor]:
    with bad_vendor() as vendor:
        yield vendor


@pytest.fixture
def scene(tmp_path_factory: pytest.TempPathFactory, bad: BadVendor) -> Iterator[Scene]:
    env = {"OPENAI_API_KEY": "sk-test-key-of-no-worth", "OPENAI_BASE_URL": f"http://127.0.0.1:{bad.port}/v1"}
    bad.mode = "well"
    house = House(tmp_path_factory.mktemp("house"), SETTINGS, "", env)
    try:
        yield Scene(house.start(with_prices=True), bad)
    finally:
        house.end()


def test_each_way_to_fail_is_told_in_time_and_nothing_of_it_is_stored(scene: Scene) -> None:
    assert scene.ask("well").status == 200
    told = {
        "hang": (504, "provider_timeout"),
        "hang_midway": (504, "provider_timeout"),
        "close_midway": (502, "provider_error"),
        "garbage": (502, "provider_error"),
        "busy": (503, "provider_rate_limited"),
    }
    for mode, (status, code) in told.items():
        reply = scene.ask(mode)
        assert (reply.status, reply.json()["code"]) == (status, code), mode
    assert scene.house.stats()["entries"] == 1
    assert scene.house.stats()["misses"] == 1


def test_a_stream_that_breaks_ends_with_an_error_and_what_came_before_it(scene: Scene) -> None:
    for mode, code in {"hang_midway": "provider_timeout", "close_midway": "provider_error"}.items():
        reply = scene.ask(mode, stream=True)
        assert reply.status == 200
        assert reply.streamed_text() == "half "
        name, data = reply.events()[-1]
        assert (name, data["code"]) == ("error", code), mode
    whole = scene.ask("well", stream=True)
    assert whole.streamed_text() == "half whole"
    assert scene.house.stats()["entries"] == 1


def test_a_storm_of_429_is_not_passed_on_to_the_vendor(scene: Scene) -> None:
    scene.vendor.mode, before = "busy", scene.vendor.asked
    replies: list[Answered] = []
    for burst in range(4):
        replies += run(at_once(scene.house.port, [{"prompt": f"storm {burst} {at}"} for at in range(50)]))
    assert {reply.status for reply in replies} == {503}
    assert all(int(reply.headers["retry-after"]) >= 1 for reply in replies)
    # The first burst goes out before anybody can know; from then on the breaker holds the others back.
    assert scene.vendor.asked - before < 150
    scene.vendor.mode = "well"
    began = time.monotonic()
    while scene.ask("well").status != 200:
        assert time.monotonic() - began < 40, "it did not recover"
        time.sleep(0.5)
