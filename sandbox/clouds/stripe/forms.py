"""Requests as Stripe takes them: form fields with brackets, read into pydantic models.

`line_items[0][price]=x` is {"line_items": [{"price": "x"}]}; an empty value is null.
"""

import re
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from flask import request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from sandbox.clouds.stripe.errors import ApiError, invalid

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
METADATA_KEYS = 50
METADATA_KEY_LENGTH = 40
METADATA_VALUE_LENGTH = 500


def _entries(value: Any) -> Any:
    """{"0": a, "1": b} as [a, b]; the vendor takes `x[]=` and `x[0]=` alike."""
    if isinstance(value, dict) and all(key.isdecimal() for key in value):
        return [value[key] for key in sorted(value, key=int)]
    return value


def _moment(value: Any) -> Any:
    return {"gte": value, "lte": value} if isinstance(value, str) else value


Entries = Annotated[list[T], BeforeValidator(_entries)]


class Form(BaseModel):
    """Parameters of a request. What is not declared is refused as the vendor refuses it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_null(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: None if value == "" else value for key, value in data.items()}
        return data


class Asked(Form):
    """Parameters every request may have."""

    expand: Entries[str] = []


class Times(Form):
    """A filter on a moment, in Unix seconds."""

    gt: int | None = None
    gte: int | None = None
    lt: int | None = None
    lte: int | None = None

    def hold(self, moment: int) -> bool:
        """Whether the moment is within all the limits."""
        return (
            (self.gt is None or moment > self.gt)
            and (self.gte is None or moment >= self.gte)
            and (self.lt is None or moment < self.lt)
            and (self.lte is None or moment <= self.lte)
        )


class Listing(Asked):
    """Parameters of a list."""

    limit: Annotated[int, Field(ge=1, le=100)] = 10
    starting_after: str | None = None
    ending_before: str | None = None
    created: Annotated[Times, BeforeValidator(_moment)] = Times()


Metadata = dict[str, str] | None


def merged(kept: dict[str, str], given: Metadata) -> dict[str, str]:
    """Metadata after an update: an empty value removes its key, null removes all."""
    if given is None:
        return {}
    for key, value in given.items():
        if len(key) > METADATA_KEY_LENGTH:
            raise invalid(
                f"Metadata keys can only be up to {METADATA_KEY_LENGTH} characters long.",
                "metadata",
            )
        if len(value) > METADATA_VALUE_LENGTH:
            raise invalid(
                f"Metadata values can have up to {METADATA_VALUE_LENGTH} characters, "
                f"but you passed in a value that is {len(value)} characters.",
                f"metadata[{key}]",
            )
    together = {key: value for key, value in {**kept, **given}.items() if value != ""}
    if len(together) > METADATA_KEYS:
        raise invalid(f"Metadata can only have up to {METADATA_KEYS} keys.", "metadata")
    return together


def check_url(url: str, param: str) -> None:
    """ApiError unless it is an absolute web address."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise invalid("Not a valid URL", param, "url_invalid")


def read(model: type[M]) -> M:
    """The request's parameters; ApiError says what is wrong with them."""
    try:
        return model.model_validate(given())
    except ValidationError as error:
        raise _explain(error) from error


def given() -> dict[str, Any]:
    """The request's parameters, nested as their brackets say."""
    fields: dict[str, Any] = {}
    for source in (request.args, request.form):
        for name, value in source.items(multi=True):
            _place(fields, name, value)
    return fields


def _place(fields: dict[str, Any], name: str, value: str) -> None:
    root, brackets = re.fullmatch(r"([^\[]*)((?:\[[^\[\]]*\])*).*", name, re.DOTALL).groups()  # type: ignore[union-attr]
    keys = [root, *re.findall(r"\[([^\[\]]*)\]", brackets)]
    holder = fields
    for key, following in zip(keys, [*keys[1:], None], strict=True):
        slot = key or str(len(holder))
        if following is None:
            holder[slot] = value
            return
        inner = holder.setdefault(slot, {})
        if not isinstance(inner, dict):
            raise invalid(f"Invalid request: {name} is both a value and a group.", root)
        holder = inner


def _explain(error: ValidationError) -> ApiError:
    first: Any = error.errors(include_url=False)[0]
    names = [str(part) for part in first["loc"]]
    param = names[0] + "".join(f"[{name}]" for name in names[1:]) if names else None
    kind, value = first["type"], first["input"]
    if kind == "extra_forbidden":
        return invalid(f"Received unknown parameter: {param}", param, "parameter_unknown")
    if kind == "missing":
        return invalid(f"Missing required param: {param}.", param, "parameter_missing")
    if value is None:
        return invalid(
            f"You passed an empty string for '{param}'. We assume empty values are an attempt to "
            "unset a parameter; however this parameter cannot be unset.",
            param,
            "parameter_invalid_empty",
        )
    if kind.startswith("int_"):
        return invalid(f"Invalid integer: {value}", param, "parameter_invalid_integer")
    if kind.startswith("bool_"):
        return invalid(f"Invalid boolean: {value}", param)
    if kind == "literal_error":
        return invalid(f"Invalid {param}: must be one of {first['ctx']['expected']}", param)
    return invalid(f"Invalid {param}: {first['msg'].removeprefix('Value error, ')}", param)
