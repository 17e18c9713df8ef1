"""The Flask application: everything is put together here, and only here."""

from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from flask_wtf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix

from webapp import models
from webapp.adapters.payments import Payments
from webapp.adapters.x import XClient
from webapp.database import Database, Encrypted
from webapp.http import assets, errors, headers, logs, sessions
from webapp.http.context import EXTENSION, Clawdet
from webapp.http.limits import limiter
from webapp.jobs import Jobs
from webapp.settings import WebSettings

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
MAX_BODY_BYTES = 512 * 1024

BLUEPRINTS = (
    "webapp.http.pages:pages",
    "webapp.http.health:health",
    "webapp.trial.views:trial",
    "webapp.accounts.views:accounts",
    "webapp.billing.views:billing",
    "webapp.instances.views:instances",
    "webapp.fleet.views:fleet",
    "webapp.api.views:api",
)
CSRF_EXEMPT = ("webapp.billing.views:stripe_webhook",)


def build(settings: WebSettings) -> Clawdet:
    """Settings, database, jobs and clients, for the web process and the worker alike."""
    assert models.Base.metadata.tables  # every model is known before the first query
    Encrypted.use_keys(settings.clawdet_encryption_keys)
    db = Database(settings.clawdet_database_url)
    return Clawdet(
        settings=settings,
        db=db,
        jobs=Jobs(settings.clawdet_database_url),
        x=XClient(settings),
        payments=Payments(settings),
    )


def create_app(settings: WebSettings | None = None) -> Flask:
    """The application; without settings, of the environment's."""
    settings = settings or WebSettings.read()
    app = Flask("webapp", static_folder="static", template_folder=str(TEMPLATES))
    app.config.update(
        SECRET_KEY=settings.clawdet_secret_key.get_secret_value(),
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        MAX_FORM_MEMORY_SIZE=MAX_BODY_BYTES,
        SESSION_COOKIE_NAME="clawdet",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.is_https,
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_SSL_STRICT=False,  # a Referer may be missing; the token is what counts
        RATELIMIT_STORAGE_URI=settings.clawdet_rate_limit_storage,
    )
    app.extensions[EXTENSION] = build(settings)
    if settings.clawdet_trusted_proxies:
        hops = settings.clawdet_trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]
    logs.install(app)
    assets.install(app)
    headers.install(app, _origins(settings.stripe_api_base, settings.x_authorize_url))
    errors.install(app)
    sessions.install(app)
    limiter.init_app(app)
    csrf = CSRFProtect(app)
    for name in CSRF_EXEMPT:
        csrf.exempt(_load(name))
    for name in BLUEPRINTS:
        app.register_blueprint(_load(name))
    return app


def _origins(*urls: str) -> tuple[str, ...]:
    found = [f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, urls)]
    return tuple(
        dict.fromkeys(["https://checkout.stripe.com", "https://billing.stripe.com", *found])
    )


def _load(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
