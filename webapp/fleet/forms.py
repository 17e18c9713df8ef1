"""What operators send."""

from flask_wtf import FlaskForm
from wtforms import SelectField, StringField
from wtforms.validators import AnyOf, InputRequired, Length

from webapp.accounts.models import ROLES
from webapp.instances.models import ActionKind

ASKABLE: tuple[ActionKind, ...] = (
    "preview",
    "apply",
    "refresh",
    "drift",
    "restart",
    "rotate_token",
)


class AskForm(FlaskForm):  # type: ignore[misc]
    """Something to be done once."""

    kind = StringField(validators=[AnyOf(ASKABLE)])


class PayForm(FlaskForm):  # type: ignore[misc]
    """A payment by arrangement."""

    reason = StringField(
        "Reason", validators=[InputRequired("Say who agreed to what."), Length(max=300)]
    )


class RoleForm(FlaskForm):  # type: ignore[misc]
    """What somebody may do here."""

    role = SelectField("Role", choices=list(ROLES))  # type: ignore[arg-type]  # plain values, too
