"""The OpenAPI document in rows, for the page that people read."""

from dataclasses import dataclass
from typing import Any

Node = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """A parameter, an answer or a field: its name, what it is made of, what it means."""

    name: str
    kind: str
    meaning: str = ""


@dataclass(frozen=True)
class Call:
    """An endpoint with one method. `body`: the model that it is sent, if any."""

    id: str
    method: str
    path: str
    summary: str
    more: str
    needs_sign_in: bool
    body: str
    parameters: list[Row]
    answers: list[Row]


@dataclass(frozen=True)
class Model:
    """The fields of something that is sent or answered."""

    name: str
    meaning: str
    fields: list[Row]


def calls(document: Node) -> list[Call]:
    """Every endpoint of the document, in its order."""
    return [
        _call(method.upper(), path, node)
        for path, methods in document["paths"].items()
        for method, node in methods.items()
    ]


def models(document: Node) -> list[Model]:
    """Every model that has fields, by name."""
    found = document["components"]["schemas"]
    return [_model(name, found[name]) for name in sorted(found) if "properties" in found[name]]


def _call(method: str, path: str, node: Node) -> Call:
    body = node.get("requestBody", {}).get("content", {})
    return Call(
        id=node["operationId"],
        method=method,
        path=path,
        summary=node["summary"],
        more=node.get("description", ""),
        needs_sign_in=bool(node["security"]),
        body=_media(body),
        parameters=[_parameter(one) for one in node.get("parameters", [])],
        answers=[
            Row(status, _media(one.get("content", {})), one["description"])
            for status, one in node["responses"].items()
        ],
    )


def _parameter(node: Node) -> Row:
    need = "required" if node.get("required") else "optional"
    return Row(node["name"], f"{node['in']}, {need}", node["description"])


def _media(content: Node) -> str:
    parts = [
        _kind(one["schema"]) if "$ref" in one["schema"] else media for media, one in content.items()
    ]
    return " or ".join(parts)


def _model(name: str, node: Node) -> Model:
    fields = [Row(field, _kind(one)) for field, one in node["properties"].items()]
    return Model(name, " ".join(node.get("description", "").split()), fields)


def _kind(node: Node) -> str:
    """A schema in words."""
    if "$ref" in node:
        return str(node["$ref"]).rpartition("/")[2]
    if "anyOf" in node:
        return " or ".join(_kind(one) for one in node["anyOf"])
    if "enum" in node:
        return " | ".join(map(str, node["enum"]))
    if node.get("type") == "array":
        return f"list of {_kind(node['items'])}"
    kind = str(node.get("type", "anything"))
    return f"{kind} ({node['format']})" if "format" in node else kind
