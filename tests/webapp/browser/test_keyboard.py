"""By keyboard alone."""

import pytest
from playwright.sync_api import Page, expect

from tests.webapp.browser.conftest import NewPage
from tests.webapp.browser.person import Person
from tests.webapp.browser.site import Site
from tests.webapp.browser.visitor import Visitor

MANY = 60
FOCUS = """() => {
    const at = document.activeElement;
    if (at === document.body) return null;
    const style = getComputedStyle(at);
    const visible = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0
        || style.boxShadow !== "none";
    return [at.outerHTML.slice(0, 100), visible];
}"""


def tab_to(page: Page, text: str) -> None:
    """Press Tab until what has the focus says so, or is labelled so."""
    for _ in range(MANY):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        if focused.count() and text in (focused.get_attribute("id") or focused.inner_text()):
            return
    raise AssertionError(f"{text} is not reached")


def test_the_first_stop_skips_to_the_content(visitor: Visitor) -> None:
    page = visitor.page
    visitor.open("/")
    page.keyboard.press("Tab")
    link = page.get_by_role("link", name="Skip to the content")
    expect(link).to_be_focused()
    expect(link).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_the_chat(visitor: Visitor) -> None:
    page = visitor.page
    visitor.open("/")
    tab_to(page, "message")
    page.keyboard.type("First line")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second line")
    page.keyboard.press("Enter")
    expect(page.get_by_text("You said: First line")).to_be_visible()
    expect(page.get_by_text("4 of 5 free messages left")).to_be_visible()
    expect(page.get_by_label("Your message")).to_be_focused()


@pytest.mark.parametrize("path", ["/", "/sign-in", "/terms"])
def test_the_focus_is_always_seen(path: str, visitor: Visitor) -> None:
    visitor.open(path)
    assert_focus_is_seen(visitor.page)


@pytest.mark.parametrize("path", ["/dashboard", "/settings", "/provisioning"])
def test_the_focus_is_always_seen_when_signed_in(
    path: str, site: Site, resident: Person, new_page: NewPage
) -> None:
    visitor = Visitor(new_page(resident), site)
    visitor.open(path)
    assert_focus_is_seen(visitor.page)


def assert_focus_is_seen(page: Page) -> None:
    """Walk the page by Tab: every stop shows where one is."""
    stops = []
    for _ in range(MANY):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUS)
        if found is None:
            break
        stops.append(tuple(found))
    assert len(stops) > 3
    assert [html for html, visible in stops if not visible] == []


def test_a_typed_confirmation(site: Site, resident: Person, new_page: NewPage) -> None:
    visitor = Visitor(new_page(resident), site)
    page = visitor.page
    visitor.open("/settings")
    tab_to(page, "Delete my account")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Type")).to_be_focused()
    button = page.get_by_role("button", name="Delete my account")
    page.keyboard.type("somebody else")
    page.keyboard.press("Enter")
    visitor.at("/settings")
    expect(button).to_be_disabled()
    page.get_by_label("Type").press("Control+a")
    page.keyboard.type(resident.username)
    page.keyboard.press("Tab")
    expect(button).to_be_focused()


def test_what_is_drawn_anew_keeps_the_focus(
    site: Site, resident: Person, new_page: NewPage
) -> None:
    visitor = Visitor(new_page(resident), site)
    page = visitor.page
    visitor.open("/dashboard")
    page.get_by_role("button", name="Restart").focus()
    page.locator("#state").evaluate("state => state.dataset.old = 'yes'")
    page.evaluate(
        "htmx.ajax('GET', '/dashboard', {source: '#state', target: '#state', select: '#state',"
        " swap: 'outerHTML'})"
    )
    expect(page.locator("#state")).not_to_have_attribute("data-old", "yes")
    expect(page.get_by_role("button", name="Restart")).to_be_focused()
