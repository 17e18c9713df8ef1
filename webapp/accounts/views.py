"""Sign-in, sign-up's details, settings."""

import json
from typing import TypeVar

from flask import (
    Blueprint,
    Response,
    flash,
    make_response,
    redirect,
    render_template,
    url_for,
)
from flask import request as asked
from flask.typing import ResponseReturnValue
from flask_login import current_user
from flask_wtf import FlaskForm

from webapp import clock
from webapp.accounts import closing, details, export, journey, schema, service, terms
from webapp.accounts.details import Postbox, WrongFields
from webapp.accounts.forms import DeleteForm, DetailsForm, EmailForm
from webapp.accounts.models import User
from webapp.accounts.user_agents import describe
from webapp.adapters.x import XProfile
from webapp.errors import ClawdetError, Invalid, TooMany, Unavailable
from webapp.http import sessions
from webapp.http.access import me, public, signed_in
from webapp.http.context import here
from webapp.http.limits import limiter
from webapp.identifiers import hash_token
from webapp.instances import service as instances
from webapp.instances import slugs
from webapp.trial import visits

FormT = TypeVar("FormT", bound=FlaskForm)

accounts = Blueprint("accounts", __name__)

CALLBACK = "/api/auth/x/callback"
ATTEMPT_PATH = "/api/auth/x"


@accounts.get("/sign-in")
@public
def sign_in() -> ResponseReturnValue:
    """What we read of X, and the way there."""
    next_path = service.local_path(asked.args.get("next"))
    if current_user.is_authenticated:
        return redirect(next_path or _next_path(), 303)
    return render_template("accounts/sign_in.html", next_path=next_path)


@accounts.get("/api/auth/x/login")
@public
@limiter.limit(lambda: here().settings.clawdet_sign_in_limit)
def x_login() -> ResponseReturnValue:
    """To X, with a state that only this browser has."""
    c = here()
    with c.db.begin() as session:
        attempt = service.begin(session, asked.args.get("next", ""), clock.now())
    url = c.x.authorize_url(attempt.state, attempt.verifier, c.settings.url(CALLBACK))
    response = redirect(url, 303)
    response.set_cookie(
        _attempt_cookie(attempt.state),
        attempt.state,
        max_age=service.ATTEMPT_LIFETIME,
        path=ATTEMPT_PATH,
        httponly=True,
        secure=c.settings.is_https,
        samesite="Lax",  # X leads back here from another site
    )
    return response


@accounts.get(CALLBACK)
@public
def x_callback() -> ResponseReturnValue:
    """Back from X. A page that leads on: a Strict cookie is not sent along X's own redirect."""
    state = asked.args.get("state", "")
    try:
        response = _come_back(state)
    except Invalid as error:
        response = _failed(error, url_for("accounts.sign_in"))
    response.delete_cookie(
        _attempt_cookie(state),
        path=ATTEMPT_PATH,
        httponly=True,
        secure=here().settings.is_https,
        samesite="Lax",
    )
    return response


@accounts.post("/sign-out")
@public
def sign_out() -> ResponseReturnValue:
    """This browser, whether or not it is signed in."""
    response = redirect("/", 303)
    with here().db.begin() as session:
        sessions.end(response, session)
    return response


@accounts.post("/sign-out-everywhere")
@signed_in
def sign_out_everywhere() -> ResponseReturnValue:
    """Every browser of this user."""
    response = redirect("/", 303)
    with here().db.begin() as session:
        service.sign_out_everywhere(session, me().id)
        sessions.end(response, session)
    return response


@accounts.get("/api/me")
@signed_in
def api_me() -> ResponseReturnValue:
    """The signed-in user."""
    c = here()
    with c.db.read() as session:
        found = schema.me(session, me(), c.settings)
    return Response(found.model_dump_json(by_alias=True), content_type="application/json")


@accounts.route("/signup/details", methods=["GET", "POST"], endpoint="details")
@signed_in
def details_page() -> ResponseReturnValue:
    """The second step: where we write to, what the instance is called, the terms."""
    form = _details_form(me())
    if not form.is_submitted():
        return _show_details(form)
    given = details.Details(
        email=form.email.data or "",
        slug=form.slug.data or "" if form.slug else None,
        accepts_terms=bool(form.terms and form.terms.data),
    )
    try:
        with here().db.begin() as session:
            details.save(session, _postbox(), me().id, given, clock.now())
    except (WrongFields, TooMany) as error:
        return _show_details(_with_problems(form, error)), error.status
    _tell_of_letter()
    return redirect(_next_path(), 303)


@accounts.route("/verify-email/<token>", methods=["GET", "POST"])
@public
def verify_email(token: str) -> ResponseReturnValue:
    """The link of a letter. A click confirms: programs that look links up don't click."""
    c = here()
    if asked.method == "GET":
        with c.db.read() as session:
            email = details.find_link(session, token, clock.now()).email
        return render_template("accounts/verify_email.html", email=email)
    with c.db.begin() as session:
        email = details.prove_email(session, token, clock.now())
    flash(f"{email} is confirmed.", "ok")
    return redirect(_next_path() if current_user.is_authenticated else "/", 303)


@accounts.post("/verify-email")
@signed_in
def send_again() -> ResponseReturnValue:
    """Another letter with a link."""
    with here().db.begin() as session:
        user = session.get_one(User, me().id)
        details.send_again(session, _postbox(), user, clock.now())
    _tell_of_letter()
    return redirect(service.local_path(asked.form.get("next")) or "/settings", 303)


@accounts.route("/settings", methods=["GET", "POST"])
@signed_in
def settings() -> ResponseReturnValue:
    """Profile, e-mail address, signed-in browsers, export, the end of the account."""
    form = EmailForm(data={"email": me().email})
    if not form.is_submitted():
        return _show_settings(form, DeleteForm())
    try:
        email = details.check_email(form.email.data or "")
        with here().db.begin() as session:
            user = session.get_one(User, me().id)
            details.change_email(session, _postbox(), user, email, clock.now())
    except (WrongFields, TooMany) as error:
        return _show_settings(_with_problems(form, error), DeleteForm(formdata=None)), error.status
    if not _tell_of_letter():
        flash("Nothing is to be confirmed: this is your address.", "ok")
    return redirect("/settings", 303)


@accounts.post("/settings/export", endpoint="export")
@signed_in
def export_page() -> ResponseReturnValue:
    """Everything that is kept of this user, as a file."""
    with here().db.read() as session:
        found = export.of_user(session, me().id, clock.now())
    response = Response(
        json.dumps(found, indent=2, ensure_ascii=False), content_type="application/json"
    )
    response.headers.set(
        "Content-Disposition", "attachment", filename=f"clawdet-{me().x_username}.json"
    )
    return response


@accounts.post("/settings/delete")
@signed_in
def delete() -> ResponseReturnValue:
    """The end of the account, once its handle is typed."""
    c, form = here(), DeleteForm()
    try:
        closing.close(c, me(), form.confirm.data or "", clock.now())
    except closing.NotConfirmed as error:
        form.confirm.errors = [error.title]
        return _show_settings(EmailForm(formdata=None, data={"email": me().email}), form), 422
    response = redirect("/", 303)
    with c.db.begin() as session:
        sessions.end(response, session)
    flash("Your account is deleted. If you had a server, it goes with its data now.", "ok")
    return response


def _come_back(state: str) -> Response:
    c, at = here(), clock.now()
    with c.db.begin() as session:
        cookie = asked.cookies.get(_attempt_cookie(state), "")
        attempt = service.redeem(session, state, cookie, at)
    try:
        profile = _identify(attempt)
    except Unavailable as error:
        return _failed(error, url_for("accounts.x_login", next=attempt.next_path or None))
    if profile is None:
        return make_response(render_template("accounts/denied.html"))
    with c.db.begin() as session:
        user = service.sign_up_or_in(session, profile, c.settings)
        visits.attach(session, asked.cookies.get(visits.COOKIE, ""), user.id)
        wanted = attempt.next_path if user.is_operator or journey.has_details(user) else ""
        next_path = wanted or journey.next_path(session, user)
        response = make_response(render_template("accounts/hop.html", next_path=next_path))
        sessions.start(response, session, user)
    return response


def _identify(attempt: service.Attempt) -> XProfile | None:
    """Who came back from X; None if they did not agree there."""
    c = here()
    match asked.args.get("error"):
        case None:
            code = asked.args.get("code", "")
            return c.x.identify(code, attempt.verifier, c.settings.url(CALLBACK))
        case "access_denied":
            return None
        case _:
            raise Unavailable("X could not sign you in.", "Nothing was stored. Try again.")


def _failed(error: ClawdetError, retry_url: str) -> Response:
    page = render_template("accounts/sign_in_failed.html", error=error, retry_url=retry_url)
    return make_response(page, error.status)


def _attempt_cookie(state: str) -> str:
    """A name of its own per attempt, so that two tabs don't disturb each other."""
    return f"sign_in_{hash_token(state)[:16]}"


def _next_path() -> str:
    with here().db.read() as session:
        return journey.next_path(session, session.get_one(User, me().id))


def _postbox() -> Postbox:
    return Postbox(here().jobs, here().settings)


def _details_form(user: User) -> DetailsForm:
    """As kept, or as typed; without what is settled already."""
    with here().db.read() as session:
        slug = user.slug or slugs.suggest(session, user.x_username, user.id)
        has_instance = instances.of_user(session, user.id) is not None
    form = DetailsForm(data={"email": user.email, "slug": slug})
    form.slug.description = f"{slug}.{here().settings.clawdet_domain}"
    if has_instance:
        del form.slug
    if terms.has_accepted(user):
        del form.terms
    return form


def _show_details(form: DetailsForm) -> str:
    return render_template("accounts/details.html", form=form, user=me(), unproven=_unproven())


def _show_settings(email_form: EmailForm, delete_form: DeleteForm) -> str:
    at = clock.now()
    with here().db.read() as session:
        browsers = service.browsers(session, me().id, at)
        instance = instances.of_user(session, me().id)
    return render_template(
        "accounts/settings.html",
        user=me(),
        email_form=email_form,
        delete_form=delete_form,
        unproven=_unproven(),
        browsers=[(describe(one.user_agent), one) for one in browsers],
        current=sessions.current_hash(),
        address=f"{instance.slug}.{here().settings.clawdet_domain}" if instance else "",
    )


def _with_problems(form: FormT, error: WrongFields | TooMany) -> FormT:
    told = f"{error.title} {error.detail}"
    problems = error.problems if isinstance(error, WrongFields) else {"email": told}
    for field, problem in problems.items():
        form[field].errors = [problem]
    return form


def _unproven() -> str | None:
    with here().db.read() as session:
        user = session.get_one(User, me().id)
        return details.unproven_email(session, user, clock.now())


def _tell_of_letter() -> bool:
    """Say where a letter waits, if one does."""
    email = _unproven()
    if email:
        flash(f"We sent a letter to {email}. Its link confirms the address.", "info")
    return email is not None
