import re
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.webapp.conftest import SignInAs
from tests.webapp.fleet.conftest import SignInWith
from tests.webapp.instances.conftest import MakeInstance
from webapp import clock
from webapp.accounts.models import User
from webapp.billing.models import Subscription
from webapp.database import Database
from webapp.http.context import Clawdet
from webapp.instances import service
from webapp.instances.models import Instance

AGO = timedelta(days=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    name = "postgres_url" if request.param == "postgresql" else "sqlite_url"
    return str(request.getfixturevalue(name))


@pytest.fixture
def sqlite_url(empty_database: Path, tmp_path: Path) -> str:
    path = tmp_path / "clawdet.sqlite3"
    shutil.copy(empty_database, path)
    return f"sqlite:///{path}"


@pytest.fixture
def five(c: Clawdet) -> dict[str, str]:
    """One of each need, oldest first, and one that is well; ids by name."""
    at = clock.now()
    well: dict[str, Any] = {"status": "complete", "live_at": at, "observed_generation": 1}
    columns: dict[str, dict[str, Any]] = {
        "well": well,
        "poor": well,
        "drifty": {**well, "drift": [{"resource": "server", "property": "status"}]},
        "slow": {"status": "installing", "created_at": at - AGO, "status_since": at - AGO},
        "broken": {"status": "failed", "failed_step": "installing"},
        "asking": {**well, "needs_approval": True},
    }
    found = {}
    with c.db.begin() as session:
        for number, (name, values) in enumerate(columns.items()):
            user = User(x_id=str(number), x_username=f"x{name}", x_name=name, slug=name)
            session.add(user)
            session.flush()
            instance = service.create(session, c.jobs, user, "stripe", "paid")
            for column, value in values.items():
                setattr(instance, column, value)
            found[name] = instance.id
            if name == "poor":
                session.add(
                    Subscription(
                        id="sub_1",
                        user_id=user.id,
                        status="past_due",
                        past_due_since=at,
                        created_at=at,
                        fetched_at=at,
                    )
                )
    return found


def names(page: str) -> list[str]:
    """The instances of the page's tables, in their order."""
    return re.findall(r'<a href="/fleet/([a-z0-9-]+)[^"]*" hx-get', page)


def test_what_needs_somebody_comes_first_and_what_presses_most_before_the_rest(
    olga: FlaskClient, five: dict[str, str]
) -> None:
    page = olga.get("/fleet").text

    assert names(page)[:5] == ["asking", "broken", "slow", "drifty", "poor"]
    assert sorted(names(page)[5:]) == sorted(five)
    assert "What needs you (5)" in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=failed", ["broken"]),
        ("state=needs+me&sort=name", ["asking", "broken", "drifty", "poor", "slow"]),
        ("q=DRIFT", ["drifty"]),
        ("q=xwell", ["well"]),
        ("q=%25", []),
        ("q=o&state=failed", ["broken"]),
        ("sort=name", ["asking", "broken", "drifty", "poor", "slow", "well"]),
        ("state=deleted", []),
    ],
)
def test_the_address_bar_filters_and_sorts(
    query: str, expected: list[str], olga: FlaskClient, five: dict[str, str]
) -> None:
    found = names(olga.get(f"/fleet?{query}").text)

    assert found[-len(expected) :] == expected if expected else found == []


def test_the_table_is_paged_by_fifty(olga: FlaskClient, c: Clawdet) -> None:
    with c.db.begin() as session:
        for number in range(53):
            user = User(x_id=str(number), x_username=f"user{number}", x_name="")
            session.add(user)
            session.flush()
            found = Instance(user_id=user.id, slug=f"n{number:02}", status="complete")
            found.live_at, found.observed_generation = clock.now(), 1
            session.add(found)

    first = olga.get("/fleet?sort=name&state=alive")
    second = olga.get("/fleet?sort=name&state=alive&page=2")

    assert names(first.text) == [f"n{number:02}" for number in range(50)]
    assert "page=2" in first.text
    assert names(second.text) == ["n50", "n51", "n52"]
    assert "(53)" in second.text


def test_an_empty_fleet_says_how_to_get_the_first_customer(olga: FlaskClient) -> None:
    page = olga.get("/fleet").text

    assert "No instances yet" in page
    assert "The first customer makes the first one" in page


def test_the_fleet_is_not_there_for_customers(
    app: Flask, sign_in: SignInAs, sign_in_with: SignInWith
) -> None:
    stranger, customer = app.test_client(), app.test_client()
    sign_in(customer, "carol")
    viewer = sign_in_with("viewer", "vera")

    for path in ("/fleet", "/fleet/users", "/fleet/webhooks", "/fleet/health"):
        assert stranger.get(path).location.startswith("/sign-in?next=")
        assert customer.get(path).status_code == 404
        assert viewer.get(path).status_code == 200


def test_an_unknown_instance_is_not_found(olga: FlaskClient, db: Database) -> None:
    assert olga.get("/fleet/nobody").status_code == 404


def test_a_deleted_name_that_is_taken_again_shows_the_living_and_leads_to_the_dead(
    olga: FlaskClient, alice: User, make_instance: MakeInstance
) -> None:
    dead = make_instance(alice, status="deleted")
    living = make_instance(alice)

    page = olga.get("/fleet/alice").text

    assert living.slug == dead.slug == "alice"
    assert f"/fleet/alice?id={dead.id}" in page
    assert "Deleted" in olga.get(f"/fleet/alice?id={dead.id}").text
