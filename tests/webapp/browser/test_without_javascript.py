"""Everything but the live parts works in a browser that runs no scripts."""

import re

from playwright.sync_api import expect

from tests.webapp.browser.conftest import NewPage
from tests.webapp.browser.site import Site
from tests.webapp.browser.visitor import LIVE_MS, Visitor


def test_the_whole_way_without_scripts(site: Site, new_page: NewPage) -> None:
    visitor = Visitor(new_page(java_script_enabled=False), site)
    page = visitor.page
    visitor.open("/")
    visitor.say("Hello")
    expect(page.get_by_text("You said: Hello")).to_be_visible()
    for _ in range(4):
        visitor.say("Again")
    expect(page.get_by_text("Those were your 5 free messages.")).to_be_visible()
    expect(page.get_by_label("Your message")).to_have_count(0)

    visitor.follow("Get your own")
    visitor.sign_in("nora")
    visitor.at("/signup/details")
    visitor.give_details("nora@example.com")
    visitor.confirm("nora@example.com")
    visitor.press("Pay at Stripe")
    visitor.give_card()
    visitor.at("/provisioning")
    expect(page.get_by_role("list", name="Steps")).to_be_visible()
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("Your assistant is live", timeout=LIVE_MS)

    visitor.follow("To the dashboard")
    expect(page.get_by_text(re.compile("^Running in "))).to_be_visible()
    visitor.open_up("Gateway token")
    visitor.press("Show the token")
    expect(page.locator("#gateway-token")).to_have_text(re.compile(r"^\S{20,}$"))
    visitor.follow("Done")
    visitor.open_up("Rebuild the server from nothing")
    page.get_by_label("Type").fill("something else")
    visitor.press("Rebuild nora")
    expect(page.get_by_text("The name did not match.")).to_be_visible()
    visitor.press("Switch off")
    expect(page.get_by_text("It is being switched off.")).to_be_visible()
