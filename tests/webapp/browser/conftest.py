"""Chromium before the running site. One of each for the tests of this folder; a fresh profile for
each test, in which nothing may be refused by the content policy or fail in the console."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from demo.journey import CHROMIUM_ARGUMENTS
from sandbox.supervisor import Sandbox
from tests.stacks.conftest import pulumi_home
from tests.webapp.browser.person import Person
from tests.webapp.browser.site import Site, serve
from tests.webapp.browser.visitor import Visitor

__all__ = ["pulumi_home"]

PATIENCE_MS = 60_000

NewPage = Callable[..., Page]
Known = Callable[[str], Person]


@pytest.fixture(scope="package")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Companies of this folder's own: others' tests clear theirs."""
    with Sandbox.start(tmp_path_factory.mktemp("sandbox"), machines="api-only") as running:
        yield running


@pytest.fixture(scope="package")
def site(
    sandbox: Sandbox,
    keys: dict[str, str],
    pulumi_home: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """Web and worker."""
    with serve(tmp_path_factory.mktemp("site"), sandbox, keys, pulumi_home) as site:
        yield site


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium on this machine (make setup installs it)")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Complaints:
    """What the browser said against our pages."""

    site: Site
    said: list[str] = field(default_factory=list)

    def hear(self, page: Page) -> None:
        """Listen to a page."""
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.said.append(str(error)))

    def _console(self, message: ConsoleMessage) -> None:
        # An answer of 4xx is a page like others; what it says is the tests' business.
        loading = message.text.startswith("Failed to load resource")
        ours = message.location["url"].startswith(self.site.url)
        if message.type in ("error", "warning") and ours and not loading:
            self.said.append(message.text)


@pytest.fixture
def complaints(site: Site) -> Iterator[Complaints]:
    """At the end there must be none."""
    found = Complaints(site)
    yield found
    assert found.said == []


@pytest.fixture
def new_page(browser: Browser, complaints: Complaints) -> Iterator[NewPage]:
    """`new_page(person=None, **options)`: in a profile of its own, signed in as the person."""
    contexts = []

    def new_page(person: Person | None = None, **options: Any) -> Page:
        if person:
            options["storage_state"] = person.storage_state()
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        complaints.hear(page)
        return page

    yield new_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """Of somebody who has never been here."""
    return new_page()


@pytest.fixture
def visitor(page: Page, site: Site) -> Visitor:
    """Somebody who has never been here."""
    return Visitor(page, site)


@pytest.fixture
def person(site: Site) -> Iterator[Known]:
    """`person("alice")`: a user who signed in."""
    people = []

    def known(username: str) -> Person:
        people.append(Person(site, username).sign_in())
        return people[-1]

    yield known
    for one in people:
        one.close()


@pytest.fixture(scope="package")
def resident(site: Site) -> Iterator[Person]:
    """Somebody whose assistant is live; for looking only."""
    person = Person(site, "resident").sign_in().give_details().pay().wait_for("complete")
    yield person
    person.close()


@pytest.fixture(autouse=True)
def whole(site: Site) -> Iterator[None]:
    """No company stays broken."""
    yield
    site.mend()
