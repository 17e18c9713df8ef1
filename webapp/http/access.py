"""Who may call a view. Every view carries exactly one of these marks (a test walks them all)."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from flask import redirect, request, url_for
from flask_login import current_user

from webapp.accounts.models import User
from webapp.errors import ClawdetError, NotFound

View = TypeVar("View", bound=Callable[..., Any])
MARK = "clawdet_access"


class SignInNeeded(ClawdetError):
    """Nobody is signed in; pages lead to the sign-in instead."""

    status = 401
    code = "sign_in_needed"


def public(view: View) -> View:
    """Anybody may."""
    return _mark(view, "public")


def signed_in(view: View) -> View:
    """Whoever has signed in. A page leads others to the sign-in and back; the API answers 401."""
    return _mark(_guarded(view, lambda _: True), "signed_in")


def operators(view: View) -> View:
    """Whoever may see the fleet (viewer, operator, admin); for others there is nothing here."""
    return _mark(_guarded(view, lambda user: user.is_operator), "operators")


def operators_only(view: View) -> View:
    """Whoever may change other people's instances (operator, admin)."""
    return _mark(_guarded(view, lambda user: user.may_operate), "operators_only")


def me() -> User:
    """The signed-in user, for views that have asked for one."""
    return cast(User, current_user._get_current_object())


def is_api() -> bool:
    """Whether a program asks: it gets problem documents, not pages. Browsers walk /api/auth/."""
    return request.path.startswith("/api/") and not request.path.startswith("/api/auth/")


def _guarded(view: View, allows: Callable[[User], bool]) -> View:
    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not current_user.is_authenticated:
            if is_api() or request.method != "GET":
                raise SignInNeeded("You are not signed in.", "Sign in with X, then try again.")
            return redirect(url_for("accounts.sign_in", next=request.full_path.rstrip("?")))
        if not allows(me()):
            raise NotFound("There is nothing here.", "The address may be mistyped.")
        return view(*args, **kwargs)

    return cast(View, guarded)


def _mark(view: View, name: str) -> View:
    setattr(view, MARK, name)
    return view
