"""An operator beside a customer with an instance."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.webapp.conftest import SignInAs, csrf
from tests.webapp.instances.conftest import alice, live, make_instance, tell
from webapp.accounts.models import Role, User
from webapp.database import Database

__all__ = ["alice", "live", "make_instance", "tell"]

SignInWith = Callable[..., FlaskClient]
Send = Callable[..., TestResponse]


@pytest.fixture
def sign_in_with(app: Flask, sign_in: SignInAs, db: Database) -> SignInWith:
    """A browser in which somebody of that role is signed in."""

    def open_browser(role: Role, name: str) -> FlaskClient:
        browser = app.test_client()
        user = sign_in(browser, name)
        with db.begin() as session:
            session.get_one(User, user.id).role = role
        return browser

    return open_browser


@pytest.fixture
def olga(sign_in_with: SignInWith) -> FlaskClient:
    """The operator's browser."""
    return sign_in_with("operator", "olga")


@pytest.fixture
def send(olga: FlaskClient) -> Send:
    """Send a form as the operator; the page that it leads to."""
    return sender(olga)


def sender(browser: FlaskClient) -> Send:
    """Forms of that browser, with their CSRF token."""

    def post(path: str, **fields: str) -> TestResponse:
        fields["csrf_token"] = csrf(browser, "/terms")
        return browser.post(path, data=fields, follow_redirects=True)

    return post
