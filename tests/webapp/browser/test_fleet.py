"""What an operator looks at and does."""

from playwright.sync_api import expect

from local.environment import OPERATOR
from tests.stacks.outside import Outside
from tests.webapp.browser.conftest import Known, NewPage
from tests.webapp.browser.person import Person
from tests.webapp.browser.site import Site
from tests.webapp.browser.visitor import LIVE_MS, Visitor


def test_an_operator_finds_previews_and_destroys(
    site: Site, person: Known, new_page: NewPage
) -> None:
    owner = person("olga").give_details().pay().wait_for("complete")
    Outside(site.sandbox).delete_record("olga")
    visitor = Visitor(new_page(), site)
    page = visitor.page
    visitor.open("/fleet")
    visitor.sign_in(OPERATOR)
    visitor.at("/fleet")
    page.get_by_label("Search").fill("olga")
    visitor.press("Show")
    page.get_by_role("link", name="olga").first.click()
    opened = page.locator("#opened")
    expect(opened.get_by_role("heading", name="olga")).to_be_visible()
    expect(page.get_by_label("Search")).to_have_value("olga")
    opened.get_by_role("link", name="olga", exact=True).first.click()
    visitor.at("/fleet/olga")

    visitor.press("Preview")
    change = page.locator(".change", has_text="record")
    expect(change).to_be_visible(timeout=LIVE_MS)
    expect(change.get_by_text("Create")).to_be_visible()
    expect(page.locator(".change", has_text="server")).to_have_count(0)

    visitor.open_up("Destroy this instance")
    button = page.get_by_role("button", name="Destroy olga")
    expect(button).to_be_disabled()
    page.locator("#destroy-confirm").fill("olga")
    button.click()
    expect(page.get_by_text("It is backed up for the last time and deleted.")).to_be_visible()
    state = page.locator("#summary .status").first
    expect(state).to_have_text("Deleted", timeout=LIVE_MS)
    assert owner.username not in [server.name for server in Outside(site.sandbox).servers()]


def test_the_pages_of_the_fleet_lead_to_each_other(
    site: Site, resident: Person, person: Known, new_page: NewPage
) -> None:
    visitor = Visitor(new_page(person(OPERATOR)), site)
    page = visitor.page
    visitor.open("/fleet")
    for name, heading in (
        ("Users", "Users"),
        ("Webhooks", "Webhooks"),
        ("Instances", "Fleet"),
    ):
        page.get_by_role("navigation", name="Fleet").get_by_role("link", name=name).click()
        visitor.heading(heading)
    visitor.open("/fleet/users")
    visitor.follow(resident.username)
    visitor.heading(resident.username)
    visitor.open("/fleet/webhooks")
    page.get_by_role("link", name="checkout.session.completed").first.click()
    visitor.heading("checkout.session.completed")
    visitor.open("/fleet/health")
    expect(page.get_by_role("table")).to_be_visible()


def test_customers_find_no_fleet(site: Site, person: Known, new_page: NewPage) -> None:
    visitor = Visitor(new_page(person("carla")), site)
    visitor.open("/fleet")
    visitor.heading("There is nothing here.")
    expect(visitor.page.get_by_role("link", name="Fleet")).to_have_count(0)
