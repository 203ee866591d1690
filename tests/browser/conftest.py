"""A real server with traffic, and real pages of it in Debian's Chromium; what a page complains of fails its test.

The browser has a loop of its own in this thread, so nothing here may outlive its module: others run loops, too.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright
from tests.system.clients import request_now
from tests.system.houses import USAGE, House, eventually, script

AXE = Path(__file__).parents[2] / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
SHIFTS = """() => new Promise(resolve => {
  let shift = 0;
  new PerformanceObserver(list => list.getEntries().forEach(one => { if (!one.hadRecentInput) shift += one.value; }))
    .observe({type: "layout-shift", buffered: true});
  setTimeout(() => resolve(shift), 100);
})"""
# Files in an answer, so that there is something to be coloured and compared.
CODE = script(f'text = """Of {{prompt}}:\n\n```python main.py\nprint(1)  # one\n```\n"""\n{USAGE}')
SETTINGS = 'limit_llm = "off"\nlimit_standard = "off"\nsample = 1.0\nlog_texts = true'
MAY = ("--scope", "root", "--scope", "admin", "--scope", "report", "--scope", "use")


class Looker:
    """Open pages of one server, and gather what goes wrong in them."""

    def __init__(self, browser: Browser, house: House) -> None:
        self.house = house
        self.troubles: list[str] = []
        self._browser = browser
        self._state: object = None

    def open(self, path: str = "", width: int = 1280, scheme: str = "light", *, known: bool = True) -> Page:
        """Open a page below /ui/, logged in unless not `known`, and wait until it shows something."""
        context = self._browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
            locale="en-GB",
            reduced_motion="reduce",  # so that no colour is looked at while it changes
        )
        page = context.new_page()
        if known:
            opened = context.request.post(
                f"{self.house.url}/sessions", headers={"Authorization": f"Bearer {self.house.key}"}
            )
            assert opened.ok, opened.text()
            context.add_init_script("localStorage.setItem('keyed', 'yes')")  # as the page of the login does
        page.on("console", lambda said: self.troubles.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on(
            "request",
            lambda asked: None if asked.url.startswith((self.house.url, "data:")) else self.troubles.append(asked.url),
        )
        page.goto(f"{self.house.url}/ui/{path}")
        page.get_by_role("heading", level=1).first.wait_for()
        return page

    def forgive(self, words: str) -> None:
        """Leave out what the browser itself says of a refusal that a test is about."""
        self.troubles[:] = [one for one in self.troubles if words not in one]


def axe(page: Page) -> list[str]:
    """Return what axe-core finds against WCAG 2.1 AA, by the rule and the first place."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("() => axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})")
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found["violations"]]


def shift(page: Page) -> float:
    """Return how much the page jumped while it was loading (cumulative layout shift)."""
    return float(page.evaluate(SHIFTS))


def call(house: House, method: str, path: str, body: object = None) -> Any:
    """Ask the server for JSON."""
    headers = {"Content-Type": "application/json", **house.headers}
    sent = None if body is None else json.dumps(body).encode()
    with urlopen(Request(house.url + path, sent, headers, method=method), timeout=30) as reply:
        return json.load(reply)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Serve, with a key that may do everything, calls, hits, a workflow and a job."""
    one = House(tmp_path_factory.mktemp("house"), SETTINGS, CODE)
    one.start()
    try:
        made = json.loads(one.run_command("keys", "create", "owner", *MAY, "--budget", "$5/day", "--json"))
        one.key = made["key"]
        eventually(lambda: request_now(one.port, "/admin/usage", headers=one.headers).status == 200, "the key is known")
        for number in range(30):
            call(one, "POST", "/llm/generate", {"prompt": f"prompt {number % 8}"})
        graph = {
            "nodes": [
                {"id": "draft", "type": "build", "prompt": "draft"},
                {"id": "better", "type": "build", "prompt": "better {{nodes.draft.text}}", "dependsOn": ["draft"]},
            ]
        }
        call(one, "POST", "/llm/execute-workflow", {"graph": graph, "wait": True})
        call(one, "POST", "/llm/jobs", {"kind": "generate", "body": {"prompt": "a job"}})
        eventually(lambda: call(one, "GET", "/admin/usage")["total"]["requests"] >= 33, "the ledger has it all")
        yield one
    finally:
        one.end()


@pytest.fixture(scope="module")
def playwright(house: House) -> Iterator[Playwright]:
    with sync_playwright() as one:
        yield one


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium is not None, "Chromium is missing: apt-get install chromium"
    one = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
    yield one
    one.close()


@pytest.fixture
def looker(house: House, browser: Browser) -> Iterator[Looker]:
    one = Looker(browser, house)
    yield one
    for context in browser.contexts:
        context.close()
    assert one.troubles == []
