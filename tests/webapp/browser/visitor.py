"""A visitor's steps through the pages, as they read and press them."""

import re

from playwright.sync_api import Locator, Page, expect

from tests.stacks.outside import until
from tests.webapp.browser.person import CARD
from tests.webapp.browser.site import PATIENCE_S, Site

LIVE_MS = 180_000


class Visitor:
    """One browser page on the site."""

    def __init__(self, page: Page, site: Site) -> None:
        self.page = page
        self.site = site

    def open(self, path: str) -> None:
        """Go to a page of ours."""
        self.page.goto(self.site.url + path)

    def at(self, path: str) -> None:
        """Wait until the browser is at that page of ours."""
        self.page.wait_for_url(re.compile(re.escape(self.site.url + path) + r"([?#].*)?$"))

    def press(self, name: str) -> None:
        """The button of that name."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def follow(self, name: str) -> None:
        """The link of that name, the first if there are more."""
        self.page.get_by_role("link", name=name, exact=True).first.click()

    def heading(self, text: str) -> None:
        """Wait for the page's heading to say so."""
        expect(self.page.get_by_role("heading", level=1)).to_have_text(text)

    # -- the way to an assistant -----------------------------------------------------------

    def say(self, message: str) -> None:
        """Send a message in the trial chat."""
        self.page.get_by_label("Your message").fill(message)
        self.press("Send")

    def sign_in(self, username: str) -> None:
        """From the sign-in page over X to the page after it."""
        self.follow("Go on to X")
        self.page.get_by_label("Username").fill(username)
        self.page.get_by_label("Display name").fill(username.title())
        self.press("Authorize app")
        self.page.wait_for_url(lambda url: url.startswith(self.site.url) and "/api/" not in url)

    def give_details(self, address: str) -> None:
        """Fill in the details' page and send it."""
        self.page.get_by_label("E-mail").fill(address)
        self.page.get_by_label(re.compile("terms")).check()
        self.press("Go on")

    def confirm(self, address: str) -> None:
        """Open the mailed link and confirm."""
        self.page.goto(self.site.letter(address, of="verify-email"))
        self.press("Confirm this address")

    def give_card(self, number: str = CARD) -> None:
        """Fill in Stripe's checkout and pay."""
        self.page.get_by_label("Card number").fill(number)
        self.page.get_by_label("Expiry").fill("12 / 40")
        self.page.get_by_label("CVC").fill("123")
        self.page.get_by_role("button", name=re.compile("^Pay ")).click()

    def wait_until_live(self) -> None:
        """Stay on the provisioning page until it says so."""
        heading = self.page.get_by_role("heading", level=1)
        expect(heading).to_have_text("Your assistant is live", timeout=LIVE_MS)

    # -- looking ---------------------------------------------------------------------------

    def open_up(self, summary: str) -> None:
        """Open what is behind a summary."""
        self.page.locator("summary", has_text=summary).click()

    def step(self, name: str) -> Locator:
        """A step of the timeline."""
        return self.page.locator(f"[data-step={name}]")

    def history(self) -> Locator:
        """The list of everything that ever happened."""
        return self.page.get_by_role("list", name="History")

    def wait_until_settled(self) -> None:
        """Look at the dashboard until nothing is under way."""

        def look() -> bool:
            self.page.reload()
            return self.page.locator("#state").get_attribute("hx-trigger") == "every 60s"

        until(look, "the end of what is under way", PATIENCE_S)
