"""Puts the companies' APIs together into one WSGI application."""

from flask import Flask

from sandbox import mail
from sandbox.clouds import admin, anthropic, cloudflare, faults, hetzner, stripe, x
from sandbox.clouds.world import World
from sandbox.downloads import service as downloads


def create_app(world: World) -> Flask:
    """All companies under their URL prefixes, with faults and introspection under `/admin`."""
    app = Flask("sandbox.clouds", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    faults.install(app, world)
    app.register_blueprint(hetzner.blueprint(world), url_prefix="/v1")
    app.register_blueprint(cloudflare.blueprint(world), url_prefix="/client/v4")
    app.register_blueprint(anthropic.blueprint(world), url_prefix="/anthropic")
    app.register_blueprint(stripe.blueprint(world), url_prefix="/stripe")
    app.register_blueprint(x.blueprint(world), url_prefix="/x")
    app.register_blueprint(mail.blueprint(world), url_prefix="/mail")
    app.register_blueprint(downloads.blueprint(world), url_prefix="/downloads")
    app.register_blueprint(admin.blueprint(world), url_prefix="/admin")
    return app
