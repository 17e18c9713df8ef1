"""What customers send to their instance."""

from flask_wtf import FlaskForm
from wtforms import StringField, ValidationError
from wtforms.validators import AnyOf


class PowerForm(FlaskForm):  # type: ignore[misc]
    """Switch on or off."""

    power = StringField(validators=[AnyOf(("on", "off"))])


class ConfirmForm(FlaskForm):  # type: ignore[misc]
    """The instance's name, typed again before something is lost."""

    confirm = StringField("Name")

    def __init__(self, slug: str) -> None:
        super().__init__()
        self._slug = slug

    def validate_confirm(self, field: StringField) -> None:
        """It must be the slug; spaces around it and capitals do no harm."""
        if (field.data or "").strip().lower() != self._slug:
            raise ValidationError(f"Type {self._slug} to confirm. Nothing was changed.")
