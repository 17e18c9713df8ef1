"""The birth of a server, watched: live, through a crash of the web process, and when it fails."""

from playwright.sync_api import Page, expect

from tests.webapp.browser.conftest import Known, NewPage
from tests.webapp.browser.site import Site
from tests.webapp.browser.visitor import LIVE_MS, Visitor

NEVER_S = 3600.0
# What the page shows, without a load in between; a load begins a new list.
REMEMBER = """() => {
    sessionStorage.setItem("seen", "");
    new MutationObserver(changes => {
        for (const { target } of changes) {
            const seen = `${target.dataset.step}:${target.dataset.state} `;
            sessionStorage.setItem("seen", sessionStorage.getItem("seen") + seen);
        }
    }).observe(document.querySelector("[data-timeline]"),
        { subtree: true, attributes: true, attributeFilter: ["data-state"] });
}"""


def test_progress_arrives_by_itself_also_after_the_web_process_was_killed(
    site: Site, person: Known, new_page: NewPage
) -> None:
    site.slow_down(NEVER_S)
    visitor = Visitor(new_page(person("lena").give_details().pay()), site)
    page = visitor.page
    visitor.open("/provisioning")
    visitor.heading("Your assistant is on its way")
    expect(visitor.step("server")).to_have_attribute("data-state", "now", timeout=LIVE_MS)
    page.evaluate(REMEMBER)

    site.kill_web()
    expect(page.get_by_text("The connection was lost.")).to_be_visible()
    site.start_web()
    expect(page.get_by_text("The connection was lost.")).to_be_hidden()

    site.slow_down(0)
    visitor.wait_until_live()
    assert {"server:done", "record:done"} <= set(seen(page))


def test_a_failed_step_says_why_and_goes_on_from_there(
    site: Site, person: Known, new_page: NewPage
) -> None:
    site.break_("cloudflare", "/dns_records$", method="POST", status=403)
    visitor = Visitor(new_page(person("fred").give_details().pay()), site)
    page = visitor.page
    visitor.open("/provisioning")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("Your assistant needs a hand", timeout=LIVE_MS)
    expect(visitor.step("server")).to_have_attribute("data-state", "done")
    expect(visitor.step("record")).to_have_attribute("data-state", "failed")
    expect(visitor.step("record").locator("[data-detail]")).not_to_be_empty()
    assert dot_of(visitor, "record") == colour_of(page, "--brick-fill")
    expect(page.get_by_role("alert")).to_be_visible()

    site.mend()
    visitor.press("Try again from here")
    visitor.at("/provisioning")
    visitor.wait_until_live()
    expect(visitor.step("record")).to_have_attribute("data-state", "done")


def seen(page: Page) -> list[str]:
    """Steps and the states that they got, as REMEMBER saw them."""
    return str(page.evaluate("sessionStorage.getItem('seen')")).split()


def dot_of(visitor: Visitor, step: str) -> str:
    """The colour of a step's mark."""
    script = "step => getComputedStyle(step, '::before').backgroundColor"
    return str(visitor.step(step).evaluate(script))


def colour_of(page: Page, token: str) -> str:
    """A token of the style sheet, as browsers tell colours."""
    script = """token => {
        const probe = document.createElement("i");
        probe.style.color = `var(${token})`;
        document.body.append(probe);
        const found = getComputedStyle(probe).color;
        probe.remove();
        return found;
    }"""
    return str(page.evaluate(script, token))
