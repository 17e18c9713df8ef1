"""From the landing page to an assistant of one's own, and what one does with it."""

import re

from playwright.sync_api import expect

from tests.webapp.browser.visitor import Visitor

FREE_MESSAGES = 5


def test_the_whole_way(visitor: Visitor) -> None:
    use_up_the_trial(visitor)
    visitor.follow("Get your own")
    visitor.sign_in("alice")
    visitor.at("/signup/details")
    visitor.give_details("alice@example.com")
    visitor.confirm("alice@example.com")
    visitor.at("/signup/pay")
    visitor.press("Pay at Stripe")
    visitor.give_card()
    visitor.at("/provisioning")
    visitor.wait_until_live()
    for step in ("server", "certificate", "record", "check"):
        expect(visitor.step(step)).to_have_attribute("data-state", "done")
    expect(visitor.step("server")).to_contain_text("address 127.")

    visitor.follow("To the dashboard")
    expect(visitor.page.get_by_text(re.compile("^Running in "))).to_be_visible()
    read_the_token(visitor)
    restart_it(visitor)
    switch_it_off_and_on(visitor)
    rebuild_it(visitor, "alice")


def use_up_the_trial(visitor: Visitor) -> None:
    page = visitor.page
    visitor.open("/")
    other = Visitor(page.context.new_page(), visitor.site)
    visitor.say("Hello")  # from here on both windows are the same visitor's
    expect(page.get_by_text("You said: Hello")).to_be_visible()
    other.open("/")
    for left in range(FREE_MESSAGES - 2, -1, -1):
        visitor.say(f"And {left}")
        expect(page.get_by_text(f"You said: And {left}")).to_be_visible()
        expect(page.get_by_text(f"{left} of 5 free messages left")).to_be_visible()
    expect(page.get_by_label("Your message")).to_be_hidden()
    expect(page.get_by_text("Those were your 5 free messages.")).to_be_visible()

    other.say("One more")
    expect(other.page.get_by_role("log")).not_to_contain_text("You said: One more")
    expect(other.page.get_by_role("link", name="Get your own").first).to_be_visible()
    expect(other.page.get_by_text("Those were your 5 free messages.").first).to_be_visible()
    other.page.close()


def read_the_token(visitor: Visitor) -> None:
    visitor.open_up("Gateway token")
    visitor.press("Show the token")
    visitor.heading("Your gateway token")
    expect(visitor.page.locator("#gateway-token")).to_have_text(re.compile(r"^\S{20,}$"))
    visitor.follow("Done")
    expect(visitor.history()).to_contain_text("The gateway token was shown")


def restart_it(visitor: Visitor) -> None:
    visitor.press("Restart")
    expect(visitor.page.get_by_text("It restarts as soon as it is free")).to_be_visible()
    visitor.wait_until_settled()


def switch_it_off_and_on(visitor: Visitor) -> None:
    state = visitor.page.locator("#state")
    visitor.press("Switch off")
    expect(state.get_by_text("You switched it off. Nothing is lost.")).to_be_visible()
    visitor.wait_until_settled()
    visitor.press("Switch on")
    expect(visitor.page.get_by_text("It is being switched on.")).to_be_visible()
    visitor.wait_until_settled()
    expect(state.get_by_text(re.compile("^Running in "))).to_be_visible()


def rebuild_it(visitor: Visitor, name: str) -> None:
    page = visitor.page
    visitor.open("/dashboard")
    address = page.locator("#ipv4").inner_text()
    visitor.open_up("Rebuild the server from nothing")
    button = page.get_by_role("button", name=f"Rebuild {name}")
    expect(button).to_be_disabled()
    page.get_by_label("Type").fill("alicia")
    expect(button).to_be_disabled()
    page.get_by_label("Type").fill(name)
    button.click()
    expect(page.get_by_text("It is being made anew.")).to_be_visible()
    visitor.wait_until_settled()
    expect(page.locator("#state").get_by_text(re.compile("^Running in "))).to_be_visible()
    expect(page.locator("#ipv4")).not_to_have_text(address)
