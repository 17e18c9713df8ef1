"""Every page, on a phone and a desktop, light and dark: for everybody."""

from collections.abc import Callable
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from local.environment import OPERATOR
from tests.webapp.browser.conftest import Known, NewPage
from tests.webapp.browser.person import Person
from tests.webapp.browser.site import Site
from tests.webapp.browser.visitor import LIVE_MS, Visitor

WIDTHS = (360, 1440)
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
HEIGHT = 900
RUN = """() => axe.run({
    resultTypes: ["violations"],
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
})"""
INJECT = Axe().axe_script

Check = Callable[[Page, str], None]


@pytest.fixture
def check() -> Check:
    """`check(page, name)`: the page as it is now, in every width and theme."""

    def check(page: Page, name: str) -> None:
        page.evaluate(INJECT)
        wrong = []
        for theme in THEMES:
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": HEIGHT})
                wrong += [f"{name}, {theme}, {width}: {one}" for one in findings(page)]
        assert wrong == []

    return check


def findings(page: Page) -> list[str]:
    """What axe finds serious or worse, and whether the page is wider than the window."""
    violations: list[dict[str, Any]] = page.evaluate(RUN)["violations"]
    found = [
        f"{one['id']} ({one['impact']}): {node['target']} {node['failureSummary']}"
        for one in violations
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append("scrolls sideways")
    return found


@pytest.mark.parametrize(
    "path", ["/", "/sign-in", "/terms", "/privacy", "/signup/cancelled", "/nowhere"]
)
def test_pages_for_everybody(path: str, visitor: Visitor, check: Check) -> None:
    visitor.open(path)
    check(visitor.page, path)


def test_the_trial_and_its_end(visitor: Visitor, check: Check) -> None:
    visitor.open("/")
    for left in (4, 3, 2, 1, 0):
        visitor.say("Hello")
        expect(visitor.page.get_by_text(f"{left} of 5 free messages left")).to_be_visible()
        if left == 4:
            check(visitor.page, "a conversation")
    check(visitor.page, "no messages left")


def test_refused_at_x(visitor: Visitor, check: Check) -> None:
    visitor.open("/sign-in")
    visitor.follow("Go on to X")
    visitor.press("Cancel")
    check(visitor.page, "refused at X")


def test_the_sign_up(site: Site, person: Known, new_page: NewPage, check: Check) -> None:
    newcomer = person("nina")
    visitor = Visitor(new_page(newcomer), site)
    visitor.open("/signup/details")
    check(visitor.page, "details")
    visitor.press("Go on")
    check(visitor.page, "details with mistakes")
    visitor.give_details(newcomer.address)
    visitor.at("/signup/pay")
    check(visitor.page, "plan, address not confirmed")
    visitor.page.goto(site.letter(newcomer.address, of="verify-email"))
    check(visitor.page, "confirm the address")
    visitor.press("Confirm this address")
    visitor.at("/signup/pay")
    check(visitor.page, "plan")


def test_a_birth_and_a_failure(site: Site, person: Known, new_page: NewPage, check: Check) -> None:
    site.slow_down(3600)
    visitor = Visitor(new_page(person("bill").give_details().pay()), site)
    visitor.open("/provisioning")
    expect(visitor.step("server")).to_have_attribute("data-state", "now", timeout=LIVE_MS)
    check(visitor.page, "provisioning")
    site.break_("cloudflare", "/dns_records$", method="POST", status=403)
    site.slow_down(0)
    expect(visitor.step("record")).to_have_attribute("data-state", "failed", timeout=LIVE_MS)
    visitor.open_up("Log")
    check(visitor.page, "provisioning failed")
    visitor.open("/dashboard")
    check(visitor.page, "dashboard, failed")


def test_what_a_customer_has(site: Site, resident: Person, new_page: NewPage, check: Check) -> None:
    visitor = Visitor(new_page(resident), site)
    page = visitor.page
    visitor.open("/dashboard")
    expect(page.get_by_role("cell", name="paid")).to_be_visible()  # the bills come by themselves
    visitor.open_up("Gateway token")
    visitor.open_up("Rebuild the server from nothing")
    check(page, "dashboard")
    visitor.press("Show the token")
    visitor.heading("Your gateway token")
    check(page, "token")
    for path in ("/provisioning", "/dashboard/bills", "/settings"):
        visitor.open(path)
        check(page, path)
    visitor.open_up("Delete my account")
    check(page, "the end of the account")


def test_what_an_operator_sees(
    site: Site, resident: Person, person: Known, new_page: NewPage, check: Check
) -> None:
    visitor = Visitor(new_page(person(OPERATOR)), site)
    page = visitor.page
    for path in ("/fleet", "/fleet?q=nobody", "/fleet/users", "/fleet/webhooks", "/fleet/health"):
        visitor.open(path)
        check(page, path)
    visitor.open("/fleet/users")
    visitor.follow(resident.username)
    visitor.open_up("Note a payment by arrangement")
    check(page, "a user")
    visitor.open("/fleet/webhooks")
    page.get_by_role("link", name="checkout.session.completed").first.click()
    visitor.heading("checkout.session.completed")
    check(page, "a webhook")
    visitor.open(f"/fleet/{resident.username}")
    visitor.open_up("Approve replacing the server")
    visitor.open_up("Destroy this instance")
    check(page, "an instance")
    page.get_by_role("table").get_by_role("link", name="up", exact=True).first.click()
    visitor.heading(f"Up of {resident.username}")
    check(page, "an operation")
