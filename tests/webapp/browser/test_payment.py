"""Ways to pay that are not straight, and ways back."""

import re

import pytest
from playwright.sync_api import expect

from tests.webapp.browser.conftest import Known, NewPage
from tests.webapp.browser.person import CAREFUL_CARD, DECLINED_CARD
from tests.webapp.browser.site import Site
from tests.webapp.browser.visitor import Visitor


@pytest.fixture(autouse=True)
def no_servers(site: Site) -> None:
    """What is paid for fails at once: here it is about the payment."""
    site.break_("hetzner", ".", status=403)


def at_the_plan(username: str, person: Known, new_page: NewPage, site: Site) -> Visitor:
    """Somebody who has given their details."""
    visitor = Visitor(new_page(person(username).give_details()), site)
    visitor.open("/signup/pay")
    return visitor


def test_a_declined_card_and_then_another(site: Site, person: Known, new_page: NewPage) -> None:
    visitor = at_the_plan("dora", person, new_page, site)
    visitor.press("Pay at Stripe")
    visitor.give_card(DECLINED_CARD)
    expect(visitor.page.get_by_text("Your card was declined.")).to_be_visible()
    visitor.give_card()
    visitor.at("/provisioning")


def test_the_bank_asks_back(site: Site, person: Known, new_page: NewPage) -> None:
    visitor = at_the_plan("tess", person, new_page, site)
    visitor.press("Pay at Stripe")
    visitor.give_card(CAREFUL_CARD)
    visitor.press("Fail authentication")
    expect(visitor.page.get_by_text("unable to authenticate")).to_be_visible()
    visitor.give_card(CAREFUL_CARD)
    visitor.press("Complete authentication")
    visitor.at("/provisioning")


def test_a_cancelled_checkout_leads_back_to_the_plan(
    site: Site, person: Known, new_page: NewPage
) -> None:
    visitor = at_the_plan("carl", person, new_page, site)
    visitor.press("Pay at Stripe")
    visitor.page.get_by_role("link", name="Back").click()
    visitor.at("/signup/cancelled")
    visitor.heading("Nothing was charged")
    visitor.follow("Back to the plan")
    visitor.at("/signup/pay")
    expect(visitor.page.get_by_text("carl.")).to_be_visible()


def test_stripe_down_is_told_on_the_plan(site: Site, person: Known, new_page: NewPage) -> None:
    visitor = at_the_plan("stan", person, new_page, site)
    site.break_("stripe", "/v1/checkout", status=500)
    visitor.press("Pay at Stripe")
    expect(visitor.page.get_by_text(re.compile("Stripe"), exact=False).first).to_be_visible()
    expect(visitor.page.get_by_role("button", name="Pay at Stripe")).to_be_visible()


def test_refusing_at_x_stores_nothing(visitor: Visitor) -> None:
    visitor.open("/sign-in")
    visitor.follow("Go on to X")
    visitor.press("Cancel")
    visitor.heading("You didn\N{RIGHT SINGLE QUOTATION MARK}t sign in.")
    expect(visitor.page.get_by_text("Nothing was stored.")).to_be_visible()
    assert [c["name"] for c in visitor.page.context.cookies(visitor.site.url)] in ([], ["clawdet"])
    visitor.follow("Back to the chat")
    visitor.at("/")


def test_going_back_loses_nothing_that_was_sent(
    site: Site, person: Known, new_page: NewPage
) -> None:
    visitor = Visitor(new_page(person("bea")), site)
    page = visitor.page
    visitor.open("/signup/details")
    page.get_by_label("Name").fill("beatrice")
    visitor.give_details("bea@example.com")
    visitor.at("/signup/pay")
    page.get_by_role("list", name="Steps").get_by_role("link", name="Details").click()
    expect(page.get_by_label("Name")).to_have_value("beatrice")
    expect(page.get_by_label("E-mail")).to_have_value("bea@example.com")
    page.go_back()
    visitor.at("/signup/pay")


def test_a_mistake_keeps_what_was_typed(site: Site, person: Known, new_page: NewPage) -> None:
    visitor = Visitor(new_page(person("mia")), site)
    page = visitor.page
    visitor.open("/signup/details")
    page.get_by_label("Name").fill("mia-2")
    visitor.give_details("mia at example")
    expect(page.get_by_label("E-mail")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("E-mail")).to_have_value("mia at example")
    expect(page.get_by_label("Name")).to_have_value("mia-2")
    expect(page.get_by_label(re.compile("terms"))).to_be_checked()


def test_the_back_button_brings_back_what_was_typed(
    site: Site, person: Known, new_page: NewPage
) -> None:
    visitor = Visitor(new_page(person("ben")), site)
    page = visitor.page
    visitor.open("/signup/details")
    page.get_by_label("E-mail").fill("ben@example.com")
    page.get_by_role("link", name="Clawdet", exact=True).click()
    visitor.at("/")
    page.get_by_label("Your message").fill("Half a thought")
    page.go_back()
    expect(page.get_by_label("E-mail")).to_have_value("ben@example.com")
    page.go_forward()
    expect(page.get_by_label("Your message")).to_have_value("Half a thought")
