"""What a resource's inputs look like, and the check of them with the official texts' sense."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sandbox.plugins.values import UNKNOWN, Asset, Props

Kind = Literal["string", "boolean", "number", "list", "map", "object", "asset", "any"]

INTERNAL = ("version", "pluginDownloadURL")
"""Inputs the engine adds, as are those with two underscores before the name: always accepted."""


@dataclass(frozen=True)
class Field:
    """One input.

    replace: a change makes a new resource. computed: the cloud chooses a value when none is given,
    so that leaving it out asks for nothing. default: what leaving it out means (None: unset).
    unordered: a list whose order says nothing. fields: of a "object", or of each item of a "list".
    kept: the cloud never tells it back, so that a read keeps what was given.
    unsupported: why the stand-in does not serve this input ("" when it does).
    """

    kind: Kind
    required: bool = False
    replace: bool = False
    computed: bool = False
    default: Any = None
    unordered: bool = False
    kept: bool = False
    items: Kind | None = None
    fields: Mapping[str, "Field"] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    unsupported: str = ""


@dataclass(frozen=True)
class Failure:
    """One input that does not pass; `name` is the top-level input's."""

    name: str
    reason: str


def check_fields(
    fields: Mapping[str, Field], inputs: Mapping[str, Any], where: str, prefix: str = ""
) -> list[Failure]:
    """What is wrong with `inputs`; `where` is the resource's name, for "Examine values at"."""
    failures = [
        Failure(prefix or name, _missing(name, where, prefix))
        for name, spec in fields.items()
        if spec.required and inputs.get(name) is None
    ]
    for name, value in inputs.items():
        path = f"{prefix}.{name}" if prefix else name
        if name in fields:
            failures += _check_value(fields[name], value, where, path)
        elif name not in INTERNAL and not name.startswith("__"):
            failures.append(Failure(path, _unexpected(name, where, path)))
    return failures


def with_defaults(fields: Mapping[str, Field], inputs: Mapping[str, Any]) -> Props:
    """The inputs without nulls, and with the defaults of what was left out."""
    known = {name: value for name, value in inputs.items() if value is not None}
    defaults = {name: spec.default for name, spec in fields.items() if spec.default is not None}
    return defaults | known


def snake(name: str) -> str:
    """`serverType` as the vendors write it: `server_type`."""
    return re.sub(r"(?<!^)([A-Z])", lambda found: "_" + found[1].lower(), name)


def camel(name: str) -> str:
    """`server_type` as Pulumi writes it: `serverType`."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def _check_value(spec: Field, value: Any, where: str, path: str) -> list[Failure]:
    if value is None or value is UNKNOWN:
        return []
    if spec.unsupported:
        return [Failure(path, spec.unsupported)]
    if not _fits(spec.kind, value):
        reason = (
            f"expected type '{_article(spec.kind)}', got '{_kind_of(value)}'."
            f" Examine values at '{where}.{path}'."
        )
        return [Failure(path, reason)]
    if spec.choices and value not in spec.choices:
        allowed = ", ".join(spec.choices)
        return [Failure(path, f'expected one of: {allowed}; got "{value}"')]
    return _check_parts(spec, value, where, path)


def _check_parts(spec: Field, value: Any, where: str, path: str) -> list[Failure]:
    if spec.kind == "object":
        return check_fields(spec.fields, value, where, path)
    if spec.kind == "list":
        item = Field("object", fields=spec.fields) if spec.fields else Field(spec.items or "any")
        found = (_check_value(item, part, where, f"{path}[{at}]") for at, part in enumerate(value))
    elif spec.kind == "map":
        item = Field(spec.items or "any")
        found = (_check_value(item, part, where, f"{path}.{key}") for key, part in value.items())
    else:
        return []
    return [failure for failures in found for failure in failures]


def _fits(kind: Kind, value: Any) -> bool:
    fitting: dict[Kind, tuple[type, ...]] = {
        "string": (str, int, float),  # as the official plugins: 42 is taken for "42"
        "boolean": (bool,),
        "number": (int, float),
        "list": (list,),
        "map": (dict,),
        "object": (dict,),
        "asset": (Asset,),
        "any": (object,),
    }
    if isinstance(value, bool) and kind not in ("boolean", "any"):
        return False
    return isinstance(value, fitting[kind])


def _kind_of(value: Any) -> str:
    kinds: tuple[Kind, ...] = ("boolean", "number", "string", "list", "map", "asset")
    return next((_article(kind) for kind in kinds if _fits(kind, value)), "nothing")


def _article(kind: Kind) -> str:
    return {"boolean": "bool", "map": "object"}.get(kind, kind)


def _missing(name: str, where: str, prefix: str) -> str:
    path = f"{prefix}.{name}" if prefix else name
    return (
        f'Missing required argument. The argument "{snake(name)}" is required, but no definition'
        f" was found.. Examine values at '{where}.{path}'."
    )


def _unexpected(name: str, where: str, path: str) -> str:
    return (
        f'Unsupported argument. An argument named "{snake(name)}" is not expected here..'
        f" Examine values at '{where}.{path}'."
    )
