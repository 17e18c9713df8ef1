"""`flask users`."""

from typing import Any

import click
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from webapp.accounts.models import ROLES, User
from webapp.errors import NotFound
from webapp.fleet import queries, service
from webapp.fleet.commands.groups import actor, users
from webapp.fleet.commands.printing import as_json, print_row, print_rows
from webapp.http.context import here
from webapp.instances import service as instances


@users.command("list")
@click.option("--q", default="", help="Part of a handle, name or e-mail address.")
@as_json
def list_users(q: str, as_json: bool) -> None:
    """List users, newest first."""
    query = select(User).order_by(User.created_at.desc())
    if q:
        columns = (User.x_username, User.x_name, User.email)
        query = query.where(or_(*(queries.contains(column, q) for column in columns)))
    with here().db.read() as session:
        rows = [_of_user(session, user) for user in session.scalars(query)]
    print_rows(rows, as_json, "nobody has signed in yet; open the landing page and sign in with X")


@users.command("show")
@click.argument("name")
@as_json
def show_user(name: str, as_json: bool) -> None:
    """Show a user, by X handle or id."""
    with here().db.read() as session:
        print_row(_of_user(session, _user(session, name)), as_json)


@users.command("role")
@click.argument("name")
@click.argument("role", type=click.Choice(ROLES))
def give_role(name: str, role: str) -> None:
    """Give a user a role: viewers see the fleet, operators change it, admins give roles."""
    with here().db.begin() as session:
        user = _user(session, name)
        service.set_role(user, role, actor())
        click.echo(f"{user.x_username} is {role} now")


@users.command("pay")
@click.argument("name")
@click.option("--reason", default="", help="Who agreed to what; kept with your name.")
@click.option("--end", is_flag=True, help="End the arrangement instead; deletes the instance.")
def pay(name: str, reason: str, end: bool) -> None:
    """Note a payment by arrangement, or its end."""
    c = here()
    with c.db.begin() as session:
        user = _user(session, name)
        if end:
            service.end_payment(session, c.jobs, user, actor=actor())
            click.echo(f"{user.x_username}: the arrangement is over; the instance is deleted")
            return
        service.pay(session, c.jobs, user, actor=actor(), reason=reason)
        click.echo(f"{user.x_username}: paid by arrangement; next: flask instances list")


def _user(session: Session, name: str) -> User:
    query = select(User).where(or_(User.id == name, User.x_username == name.lstrip("@")))
    found = session.scalar(query.order_by(User.deleted_at.is_not(None)))
    if found is None:
        raise NotFound(f"There is no user {name}.", "List them: flask users list")
    return found


def _of_user(session: Session, user: User) -> dict[str, Any]:
    instance = instances.of_user(session, user.id)
    return {
        "id": user.id,
        "handle": user.x_username,
        "email": user.email,
        "role": user.role,
        "paid": (user.payment_method or "yes") if user.paid_at else "no",
        "instance": instance.slug if instance else None,
        "since": user.created_at,
    }
