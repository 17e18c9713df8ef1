"""A customer's way in a real browser: from the landing page to a chat with their own assistant."""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from playwright.sync_api import Page, expect, sync_playwright

from demo.steps import Steps, Unfulfilled
from demo.steps import expect as ensure
from local.serving import Local
from stacks import outside

SLUG = "alice"
QUESTION = "Are you there, assistant?"
ADDRESS = "alice@example.com"
CARD = "4242 4242 4242 4242"
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-gpu-watchdog",  # on a busy machine it takes waiting for hanging
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGE_MS = 30_000
LIVE_MS = 600_000


@contextmanager
def browser_page() -> Iterator[Page]:
    """A page in a headless Chromium with a profile of its own."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise Unfulfilled("the browser is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            page.set_default_timeout(PAGE_MS)
            expect.set_options(timeout=PAGE_MS)
            yield page
        finally:
            browser.close()


@dataclass
class Journey:
    """What the steps share. `pictures`: a folder for screenshots."""

    steps: Steps
    found: Local
    page: Page
    pictures: Path

    def to_ones_own_assistant(self) -> None:
        """Every step from the landing page on; raises at the first that does not hold."""
        self._try()
        self._sign_in()
        self._details()
        self._pay()
        self._watch()
        self._chat()

    def close_account(self) -> None:
        """Delete the account; the instance's end is seen by whoever looks at the clouds."""
        with self.steps.step("delete the account: typed confirmation"):
            self.page.goto(f"{self.found.url}/settings")
            self._picture("settings")
            self.page.locator("#delete > summary").click()
            self.page.locator("#delete input[name=confirm]").fill(SLUG)
            self.page.get_by_role("button", name="Delete my account").click()
            expect(self.page.get_by_role("link", name="Sign in")).to_be_visible()

    # -- the steps -------------------------------------------------------------------------

    def _try(self) -> None:
        with self.steps.step("try it: a free message on the landing page") as remark:
            self.page.goto(self.found.url)
            self.page.get_by_label("Your message").fill("What is a crayfish?")
            self.page.get_by_role("button", name="Send").click()
            expect(self.page.get_by_text("You said: What is a crayfish?")).to_be_visible()
            expect(self.page.get_by_text("4 of 5 free messages left")).to_be_visible()
            self._picture("landing")
            remark("4 of 5 free messages left")

    def _sign_in(self) -> None:
        with self.steps.step("sign in with X"):
            self.page.get_by_role("link", name="Get your own").first.click()
            self._picture("sign-in")
            self.page.locator("a[href*='/api/auth/x/login']").first.click()
            self.page.get_by_role("button", name="Authorize app").click()
            self.page.wait_for_url("**/signup/details**")

    def _details(self) -> None:
        with self.steps.step("e-mail address, terms; the letter's link") as remark:
            self.page.get_by_label(re.compile("e-?mail", re.IGNORECASE)).fill(ADDRESS)
            self.page.get_by_label(re.compile("terms", re.IGNORECASE)).check()
            self._picture("details")
            self.page.get_by_role("button", name="Go on").click()
            self.page.goto(self._mailed_link())
            self.page.get_by_role("button", name="Confirm this address").click()
            self.page.wait_for_url("**/signup/pay")
            remark(f"{SLUG} is free, {ADDRESS} is confirmed")

    def _pay(self) -> None:
        with self.steps.step("pay at Stripe's hosted checkout") as remark:
            self.page.goto(f"{self.found.url}/signup/pay")
            self._picture("plan")
            self.page.get_by_role("button", name="Pay at Stripe").click()
            self.page.get_by_label("Card number").fill(CARD)
            self.page.get_by_label("Expiry").fill("12 / 40")
            self.page.get_by_label("CVC").fill("123")
            self._picture("checkout")
            self.page.get_by_role("button", name=re.compile("^Pay")).click()
            self.page.wait_for_url(f"{self.found.url}/**")
            remark("paid with a test card")

    def _watch(self) -> None:
        with self.steps.step("watch the server being born") as remark:
            self.page.goto(f"{self.found.url}/provisioning")
            began = time.monotonic()
            self.page.wait_for_timeout(12_000)
            self._picture("birth")
            heading = self.page.get_by_role("heading", level=1)
            expect(heading).to_have_text(
                re.compile("live|needs a hand|look first"), timeout=LIVE_MS
            )
            self._picture("live")
            ensure("live" in heading.inner_text(), f"live, not: {self._why()}")
            remark(f"live after {time.monotonic() - began:.0f} s on this page")

    def _chat(self) -> None:
        with self.steps.step(
            "the dashboard, the gateway token, a chat with the assistant"
        ) as remark:
            self.page.goto(f"{self.found.url}/dashboard")
            self._picture("dashboard")
            url = self.page.get_by_role("link", name="Open").first.get_attribute("href") or ""
            self.page.get_by_text("Gateway token", exact=True).click()
            self.page.get_by_role("button", name="Show the token").click()
            token = self.page.locator("#gateway-token").inner_text().strip()
            answer = outside.chat(url.rstrip("/"), token, QUESTION)
            ensure(QUESTION in answer, f"the answer came from the model, not {answer!r}")
            remark(f"{answer!r}")

    # -- helpers ---------------------------------------------------------------------------

    def _mailed_link(self) -> str:
        assert self.found.sandbox
        deadline = time.monotonic() + PAGE_MS / 1000
        while time.monotonic() < deadline:
            with requests.Session() as session:
                session.trust_env = False
                asked = f"{self.found.sandbox.running.mail_url}api/letters"
                letters = session.get(asked, params={"to": ADDRESS}, timeout=10).json()["letters"]
            links = [link for letter in letters for link in letter["links"]]
            if found := [link for link in links if "verify-email" in link]:
                return str(found[0])
            time.sleep(0.2)
        raise Unfulfilled(f"no letter came to {ADDRESS}")

    def _why(self) -> str:
        return self.page.locator("main").inner_text()[:600]

    def _picture(self, name: str) -> None:
        """At desktop and phone width, light and dark."""
        for theme in ("light", "dark"):
            self.page.emulate_media(color_scheme=theme)
            for width in (1280, 360):
                self.page.set_viewport_size({"width": width, "height": 860})
                file = self.pictures / f"{name}-{theme}-{width}.png"
                self.page.screenshot(path=file, full_page=True, animations="disabled")
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size({"width": 1280, "height": 860})
