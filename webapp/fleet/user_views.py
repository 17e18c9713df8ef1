"""People, for operators: who they are, what they pay, what they may."""

from flask import render_template, request, url_for
from sqlalchemy import or_, select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from webapp import clock
from webapp.accounts.models import User
from webapp.billing import service as billing
from webapp.errors import Invalid, NotAllowed, NotFound
from webapp.fleet import service
from webapp.fleet.blueprint import act, actor, fleet
from webapp.fleet.forms import PayForm, RoleForm
from webapp.fleet.queries import PAGE, contains
from webapp.http.access import me, operators, operators_only
from webapp.http.context import here
from webapp.instances.models import Instance

PAID = ("", "paid", "unpaid", "manual")


@fleet.get("/users")
@operators
def users() -> str:
    """Everybody who has signed in, newest first."""
    q = request.args.get("q", "").strip()[:100]
    paid = request.args.get("paid", "")
    page = max(1, request.args.get("page", 1, type=int))
    with here().db.read() as session:
        query = select(User).order_by(User.created_at.desc(), User.id)
        if q:
            columns = (User.x_username, User.x_name, User.email, User.id, User.slug)
            query = query.where(or_(*(contains(column, q) for column in columns)))
        if paid == "manual":
            query = query.where(User.payment_method == "manual")
        elif paid in ("paid", "unpaid"):
            query = query.where(
                User.paid_at.is_not(None) if paid == "paid" else User.paid_at.is_(None)
            )
        rows = list(session.scalars(query.offset((page - 1) * PAGE).limit(PAGE + 1)))
        slugs = _slugs(session, rows)
    return render_template(
        "fleet/users.html",
        users=rows[:PAGE],
        slugs=slugs,
        q=q,
        paid=paid,
        page=page,
        more=len(rows) > PAGE,
        choices=PAID,
    )


@fleet.get("/users/<user_id>")
@operators
def user(user_id: str) -> str:
    """One of them: plan, instances, role."""
    c = here()
    with c.db.read() as session:
        found = _find(session, user_id)
        instances = session.scalars(
            select(Instance)
            .where(Instance.user_id == found.id)
            .order_by(Instance.created_at.desc())
        )
        return render_template(
            "fleet/user.html",
            user=found,
            instances=list(instances),
            plan=billing.summary(session, found.id, clock.now(), c.settings),
            pay=PayForm(),
            role=RoleForm(role=found.role),
        )


@fleet.post("/users/<user_id>/pay")
@operators_only
def pay(user_id: str) -> Response:
    """Note a payment by arrangement, with its reason."""
    form = PayForm()

    def change(session: Session) -> str:
        if not form.validate_on_submit():
            raise Invalid("A payment by arrangement needs a reason.", "Say who agreed to what.")
        found = _find(session, user_id)
        service.pay(session, here().jobs, found, actor=actor(), reason=form.reason.data or "")
        return "Noted. Their assistant runs, or is being made."

    return act(change, url_for("fleet.user", user_id=user_id))


@fleet.post("/users/<user_id>/end-payment")
@operators_only
def end_payment(user_id: str) -> Response:
    """End a payment by arrangement; the instance is deleted."""

    def change(session: Session) -> str:
        service.end_payment(session, here().jobs, _find(session, user_id), actor=actor())
        return "The arrangement is over. Their assistant is being deleted."

    return act(change, url_for("fleet.user", user_id=user_id))


@fleet.post("/users/<user_id>/role")
@operators_only
def role(user_id: str) -> Response:
    """Give a role; for admins."""
    if me().role != "admin":
        raise NotAllowed("Roles are given by admins.", "Ask one of them.")
    form = RoleForm()

    def change(session: Session) -> str:
        if not form.validate_on_submit():
            raise Invalid("There is no such role.", "Choose one of the list.")
        found = _find(session, user_id)
        service.set_role(found, form.role.data, actor())
        return f"{found.x_username} is {found.role} now."

    return act(change, url_for("fleet.user", user_id=user_id))


def _find(session: Session, user_id: str) -> User:
    found = session.get(User, user_id)
    if found is None:
        raise NotFound("There is no such user.", "The list of users shows those there are.")
    return found


def _slugs(session: Session, users: list[User]) -> dict[str, str]:
    """The names of their living instances, by user."""
    rows = session.execute(
        select(Instance.user_id, Instance.slug).where(
            Instance.user_id.in_([one.id for one in users]), Instance.status != "deleted"
        )
    )
    return {row[0]: row[1] for row in rows}
