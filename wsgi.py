"""Where `flask` finds the application: `flask --help` lists the commands of webapp.fleet."""

from flask import Flask
from flask.cli import NoAppException

from webapp import app
from webapp.errors import SettingsError


def create_app() -> Flask:
    """The application of the environment; what is missing there is named without a traceback."""
    try:
        return app.create_app()
    except SettingsError as error:
        raise NoAppException(str(error)) from error
