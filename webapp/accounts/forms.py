"""The forms of sign-up and settings. What their fields may hold is decided by the services."""

from flask_wtf import FlaskForm
from wtforms import BooleanField, StringField


class DetailsForm(FlaskForm):  # type: ignore[misc]
    """The second step of the sign-up."""

    email = StringField("E-mail address")
    slug = StringField("Name")
    terms = BooleanField("I accept the terms and have read the privacy page")


class EmailForm(FlaskForm):  # type: ignore[misc]
    """Another address, in the settings."""

    email = StringField("E-mail address")


class DeleteForm(FlaskForm):  # type: ignore[misc]
    """The handle, typed to confirm."""

    confirm = StringField("Your X handle")
