"""A real server with traffic, and real pages of it in Debian's Chromium; what a page complains of fails its test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright
from tests.system.clients import post_now
from tests.system.houses import House

AXE = Path(__file__).parents[2] / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
BREAKS = """() => new Promise(resolve => {
  let shift = 0;
  new PerformanceObserver(list => list.getEntries().forEach(one => { if (!one.hadRecentInput) shift += one.value; }))
    .observe({type: "layout-shift", buffered: true});
  setTimeout(() => resolve(shift), 100);
})"""


class Looker:
    """Open pages of one server, and gather what goes wrong in them."""

    def __init__(self, browser: Browser, house: House) -> None:
        self.house = house
        self.troubles: list[str] = []
        self._browser = browser
        self._contexts: list[object] = []

    def open(self, path: str = "", width: int = 1280, scheme: str = "light") -> Page:
        """Open a page below /ui/ and wait until it shows something."""
        context = self._browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
            bypass_csp=False,
        )
        page = context.new_page()
        page.on("console", lambda said: self.troubles.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on(
            "request",
            lambda asked: None if asked.url.startswith((self.house.url, "data:")) else self.troubles.append(asked.url),
        )
        page.goto(f"{self.house.url}/ui/{path}")
        page.get_by_role("heading", level=1).first.wait_for()
        return page


def axe(page: Page) -> list[str]:
    """Return what axe-core finds against WCAG 2.1 AA, by the rule and the first place."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("() => axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})")
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found["violations"]]


def shift(page: Page) -> float:
    """Return how much the page jumped while it was loading (cumulative layout shift)."""
    return float(page.evaluate(BREAKS))


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as one:
        yield one


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium is not None, "Chromium is missing: apt-get install chromium"
    one = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
    yield one
    one.close()


@pytest.fixture(scope="module")
def busy_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("house"), 'limit_llm = "off"\nlimit_standard = "off"\nsample = 1.0').start()
    try:
        for number in range(30):
            post_now(house.port, {"prompt": f"prompt {number % 8}"})
        yield house
    finally:
        house.end()


@pytest.fixture
def looker(busy_house: House, browser: Browser) -> Iterator[Looker]:
    one = Looker(browser, busy_house)
    yield one
    for context in browser.contexts:
        context.close()
    assert one.troubles == []
