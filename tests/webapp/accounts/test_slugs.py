import pytest

from stacks.spec import RESERVED as RESERVED_BY_STACKS
from stacks.spec import SLUG as SLUG_OF_STACKS
from webapp.accounts.models import User
from webapp.clock import now
from webapp.database import Database
from webapp.instances.models import Instance
from webapp.instances.slugs import (
    FALLBACK,
    MAX_LENGTH,
    RESERVED,
    is_free,
    make_slug,
    slug_problem,
    suggest,
)


def add_user(db: Database, username: str, slug: str | None = None) -> str:
    with db.begin() as session:
        user = User(x_id=username, x_username=username, x_name=username, slug=slug)
        session.add(user)
    return user.id


def add_instance(db: Database, username: str, slug: str, status: str = "complete") -> None:
    user_id = add_user(db, username)
    with db.begin() as session:
        session.add(Instance(user_id=user_id, slug=slug, status=status))


@pytest.mark.parametrize(
    ("username", "slug"),
    [
        ("alice", "alice"),
        ("Alice_42", "alice-42"),
        ("_alice_", "alice"),
        ("a__b", "a-b"),
        ("42", "42"),
        ("____", FALLBACK),
        ("x" * 60, "x" * MAX_LENGTH),
    ],
)
def test_a_username_becomes_a_host_name(username: str, slug: str) -> None:
    assert make_slug(username) == slug
    assert slug_problem(slug) is None
    assert SLUG_OF_STACKS.fullmatch(slug)


@pytest.mark.parametrize(
    "slug",
    [
        "",
        "-a",
        "a-",
        "a_b",
        "A",
        "ä",
        "a.b",
        "a b",
        "a--b",
        "xn--p1ai",
        "a\n",
        "x" * 41,
        "www",
        "api",
    ],
)
def test_what_is_no_host_name_of_ours_is_refused_with_a_reason(slug: str) -> None:
    assert slug_problem(slug)


def test_what_the_stacks_refuse_is_refused_here_too() -> None:
    assert RESERVED_BY_STACKS <= RESERVED


def test_a_clash_gets_a_number(db: Database) -> None:
    add_instance(db, "first", "alice")
    add_user(db, "second", slug="alice-2")
    with db.read() as session:
        assert suggest(session, "alice") == "alice-3"


def test_usernames_that_differ_by_their_underline_get_different_names(db: Database) -> None:
    add_instance(db, "a_b", "a-b")
    with db.read() as session:
        assert suggest(session, "A_B_") == "a-b-2"


def test_a_reserved_username_gets_a_number(db: Database) -> None:
    with db.read() as session:
        assert suggest(session, "admin") == "admin-2"


def test_a_number_does_not_make_a_name_too_long(db: Database) -> None:
    add_instance(db, "long", "x" * MAX_LENGTH)
    with db.read() as session:
        assert suggest(session, "x" * 60) == "x" * (MAX_LENGTH - 2) + "-2"


def test_a_name_is_free_again_when_its_instance_is_deleted_or_its_account_closed(
    db: Database,
) -> None:
    add_instance(db, "gone", "alice", status="deleted")
    closed = add_user(db, "closed", slug="alice")
    with db.begin() as session:
        session.get_one(User, closed).deleted_at = now()
    with db.read() as session:
        assert is_free(session, "alice")


def test_ones_own_choice_is_no_clash(db: Database) -> None:
    user_id = add_user(db, "alice", slug="alice")
    with db.read() as session:
        assert not is_free(session, "alice")
        assert is_free(session, "alice", user_id)
