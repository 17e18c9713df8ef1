"""What clients send in bodies, each field checked with the vendor's error."""

import json
import re
from typing import Annotated, Any, TypeVar

from flask import request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from sandbox.clouds.hetzner.errors import ApiError, invalid_input
from sandbox.clouds.hetzner.labels import check_labels
from sandbox.clouds.store import Document

LABEL = "[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
HOSTNAME = re.compile(rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*")  # RFC 1123

LONGEST_NAME = 255


def _id_or_name(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise ValueError("must be an ID or a name")
    if isinstance(value, str) and len(value) > LONGEST_NAME:
        raise ValueError(f"must not be longer than {LONGEST_NAME} characters")
    return value


def _hostname(value: str) -> str:
    if not HOSTNAME.fullmatch(value):
        raise ValueError("must be a valid hostname")
    return value


def _name(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


IdOrName = Annotated[Any, BeforeValidator(_id_or_name)]
Hostname = Annotated[str, AfterValidator(_hostname)]
Name = Annotated[str, AfterValidator(_name)]
LabelMap = Annotated[dict[str, str], AfterValidator(check_labels)]


class Body(BaseModel):
    """A request body: types are strict, unknown fields are ignored as the vendor does."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Rename(Body):
    """What a PUT changes of most resources."""

    name: Name | None = None
    labels: LabelMap | None = None


B = TypeVar("B", bound=Body)


def read_body(model: type[B]) -> B:
    """The request's JSON body as `model`; no body at all counts as `{}`.

    Raises ApiError: json_error for what is no JSON object, invalid_input by field.
    """
    raw = request.get_data()
    try:
        data = json.loads(raw) if raw else {}
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "json_error", f"invalid JSON in request: {error}") from error
    if not isinstance(data, dict):
        raise ApiError(400, "json_error", "invalid JSON in request: an object is expected")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise invalid_input(_by_field(error.errors())) from error


def find(documents: list[Document], reference: int | str) -> Document | None:
    """The document with this id (a number, also as text) or this name."""
    if isinstance(reference, int) or reference.isdecimal():
        found = next((d for d in documents if d["id"] == int(reference)), None)
        if found:
            return found
    return next((d for d in documents if d.get("name") == reference), None)


def _by_field(errors: list[ErrorDetails]) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for error in errors:
        name = ".".join(str(part) for part in error["loc"]) or "body"
        message = error["msg"].removeprefix("Value error, ")
        fields.setdefault(name, []).append(message[:1].lower() + message[1:])
    return fields
