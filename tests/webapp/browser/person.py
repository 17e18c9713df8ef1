"""Somebody who has been here before: what a test does not look at is done over HTTP, quickly."""

import re
from http.cookiejar import Cookie
from typing import Any

import requests
from playwright.sync_api import StorageState

from tests.stacks.outside import until
from tests.webapp.browser.site import PATIENCE_S, Site

CARD = "4242 4242 4242 4242"
DECLINED_CARD = "4000 0000 0000 0002"
CAREFUL_CARD = "4000 0025 0000 3155"
TIMEOUT_S = 60


class Person:
    """A user by the name of their X handle, as far as the methods called have brought them."""

    def __init__(self, site: Site, username: str) -> None:
        self._site = site
        self._session = requests.Session()
        self._session.trust_env = False
        self.username = username
        self.address = f"{username}@example.com"

    def sign_in(self) -> "Person":
        """To X, authorize, and back."""
        away = self._get("/api/auth/x/login", allow_redirects=False)
        answer = {"username": self.username, "name": self.username.title(), "decision": "authorize"}
        back = self._session.post(away.headers["Location"], data=answer, timeout=TIMEOUT_S)
        assert back.ok, back.text
        return self

    def give_details(self) -> "Person":
        """Address, terms, and the click on the letter's link."""
        fields = {"email": self.address, "slug": self.username, "terms": "y"}
        self._post("/signup/details", fields, page="/signup/details")
        link = self._site.letter(self.address, of="verify-email").removeprefix(self._site.url)
        self._post(link, {}, page=link)
        return self

    def pay(self) -> "Person":
        """At Stripe's checkout, with a card that works."""
        checkout = self._post("/signup/pay", {}, page="/signup/pay", allow_redirects=False)
        form = {"card_number": CARD, "card_expiry": "12 / 40", "card_cvc": "123"}
        paid = self._session.post(checkout.headers["Location"], data=form, timeout=TIMEOUT_S)
        assert paid.ok, paid.text
        return self

    def wait_for(self, status: str) -> "Person":
        """Until the instance is in that state."""
        until(
            lambda: self.status() == status,
            f"{self.username}'s instance to be {status}",
            PATIENCE_S,
        )
        return self

    def status(self) -> str:
        """The instance's, "" without one."""
        answer = self._get("/api/provisioning/status").json()
        return str(answer.get("status", ""))

    def storage_state(self) -> StorageState:
        """The cookies, for a browser."""
        return {"cookies": [_as_browsers_do(c) for c in self._session.cookies], "origins": []}

    def close(self) -> None:
        self._session.close()

    def _get(self, path: str, **options: Any) -> requests.Response:
        return self._session.get(self._site.url + path, timeout=TIMEOUT_S, **options)

    def _post(
        self, path: str, fields: dict[str, str], *, page: str, **options: Any
    ) -> requests.Response:
        found = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', self._get(page).text)
        assert found, f"{page} has no form"
        data = fields | {"csrf_token": found.group(1)}
        url = self._site.url + path
        answer = self._session.post(url, data=data, timeout=TIMEOUT_S, **options)
        assert answer.ok, answer.text
        return answer


def _as_browsers_do(cookie: Cookie) -> Any:
    strict = cookie.name == "user_session"
    return {
        "name": cookie.name,
        "value": cookie.value,
        "domain": "localhost",
        "path": cookie.path,
        "expires": cookie.expires or -1,
        "httpOnly": True,
        "secure": False,
        "sameSite": "Strict" if strict else "Lax",
    }
