"""The dashboard's pages in a real browser: they show what is there, at any width, in both schemes, by keyboard too."""

import re

import pytest
from playwright.sync_api import expect
from tests.browser.conftest import Looker, axe, shift

pytestmark = pytest.mark.process
FIRST_VIEW_BYTES = 150_000
PAGES = ("", "playground", "requests")


def test_the_overview_shows_what_was_asked_and_saved(looker: Looker) -> None:
    page = looker.open()
    tiles = page.locator("dl.tiles")
    expect(tiles.get_by_text("Requests", exact=True).locator("..")).to_contain_text(
        re.compile(r"Requests\s*30"), timeout=30_000
    )
    expect(tiles).to_contain_text("73.3 %")  # 22 of 30
    expect(page.get_by_role("row", name="Hits")).to_contain_text(re.compile(r"(ms|µs)"))
    expect(page.get_by_role("img", name=re.compile("Answers: from the store 22"))).to_be_visible()
    assert shift(page) < 0.1


def test_the_first_view_is_light_and_asks_nobody_else(looker: Looker) -> None:
    page = looker.open()
    page.get_by_role("img").first.locator("canvas").wait_for()
    sizes = page.evaluate(
        "() => performance.getEntries()"
        ".filter(one => one.encodedBodySize && !/\\/(admin|llm|sessions)\\//.test(one.name))"
        ".map(one => [one.name, one.encodedBodySize, one.renderBlockingStatus, one.decodedBodySize])"
    )
    assert 10_000 < sum(size for _, size, *_ in sizes) < FIRST_VIEW_BYTES
    assert sum(decoded > size for _, size, _, decoded in sizes) >= 3, "it is compressed"
    assert not [name for name, _, blocking, _ in sizes if blocking == "blocking" and name.endswith(".js")]
    paint = page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert paint > 0


def test_the_same_question_again_is_shown_as_free(looker: Looker) -> None:
    page = looker.open("playground")
    page.get_by_label("Prompt").fill("something that nobody asked before")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("row", name="Now")).to_contain_text("asked and paid")
    expect(page.locator("pre")).to_contain_text("Answer to something that nobody asked before")
    page.get_by_role("button", name="Ask again").click()
    expect(page.get_by_role("row", name="Now")).to_contain_text("from the store, free")
    expect(page.get_by_role("row", name="Before")).to_contain_text("asked and paid")


def test_what_the_server_says_is_shown_where_it_refuses(looker: Looker) -> None:
    page = looker.open("playground")
    page.get_by_label("Routing").select_option("manual")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("activeProvider")
    looker.troubles[:] = [one for one in looker.troubles if "400" not in one]  # the browser's own word for it


def test_requests_are_listed_filtered_and_looked_into(looker: Looker) -> None:
    page = looker.open("requests")
    rows = page.get_by_role("row")
    expect(rows.nth(1)).to_contain_text("scripted: demo", timeout=30_000)
    page.get_by_label("Kind").select_option("answered")
    expect(page.get_by_role("cell", name="exact")).to_have_count(0)
    page.get_by_role("button", name=re.compile("Details")).first.click()
    expect(page.get_by_role("dialog")).to_contain_text("promptTokens")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.get_by_label("model", exact=True).fill("no-such-model")
    expect(page.get_by_text("Nothing yet.")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_nobody_is_left_out(looker: Looker, path: str, scheme: str) -> None:
    page = looker.open(path, width=360, scheme=scheme)
    page.wait_for_load_state("networkidle")
    assert axe(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360, "nothing sticks out"


def test_pages_are_reached_by_keyboard_and_by_their_addresses(looker: Looker) -> None:
    page = looker.open()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/ui/requests$"))
    page.go_back()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    expect(looker.open("nowhere/at/all").get_by_text("There is no such page.")).to_be_visible()


def test_the_root_leads_a_browser_there(looker: Looker) -> None:
    page = looker.open()
    page.goto(looker.house.url)
    expect(page).to_have_url(re.compile("/ui/$"))
