"""What makes a DNS record valid, and how the API writes it.

Codes 9004, 9005, 9021 and 9300 are known from the vendor's answers; the others in the 9000s are
its codes as far as public sources tell. `settings` is kept as given.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Any

from sandbox.clouds.cloudflare.envelope import ApiError, refuse
from sandbox.clouds.store import Document

FIELDS = ("type", "name", "content", "ttl", "proxied", "priority", "comment", "tags", "settings")
PROXIABLE = ("A", "AAAA", "CNAME")
MAX_COMMENT = 500
MAX_TAGS = 20
MAX_TXT = 2048
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


def normalise(fields: Document, zone: str) -> Document:
    """The record that `fields` (as a client sent them) ask for, complete and in the API's form.

    Raises ApiError (400) with the vendor's code for the first thing that is wrong.
    """
    kind = fields.get("type")
    if not isinstance(kind, str) or kind not in CONTENT:
        raise refuse(400, 9020, "Invalid DNS record type.")
    name = _name(fields.get("name"), zone)
    proxied = _proxied(fields.get("proxied"), kind)
    record = {
        "name": name,
        "type": kind,
        "content": _content(kind, fields.get("content"), name),
        "proxiable": kind in PROXIABLE,
        "proxied": proxied,
        # A proxied record is answered by the edge: its TTL is always "automatic".
        "ttl": 1 if proxied else _ttl(fields.get("ttl")),
        "settings": _settings(fields.get("settings")),
        "comment": _comment(fields.get("comment")),
        "tags": _tags(fields.get("tags")),
    }
    if kind == "MX":
        record["priority"] = _priority(fields.get("priority"))
    return record


def full_name(name: str, zone: str) -> str:
    """`name` as the zone holds it: lower case, punycode, brought under the zone ("@" is its apex).

    Raises ValueError when it can't be a DNS name.
    """
    plain = name.strip().rstrip(".").lower()
    if not plain.isascii():
        plain = plain.encode("idna").decode()
    if plain in ("@", zone):
        return zone
    full = plain if plain.endswith(f".{zone}") else f"{plain}.{zone}"
    if not is_hostname(full.removeprefix("*.")):
        raise ValueError(f"not a DNS name: {name!r}")
    return full


def is_hostname(name: str) -> bool:
    """Whether `name` is labels of 1 to 63 letters, digits, `_` and `-`, at most 253 in all."""
    return len(name) <= 253 and all(LABEL.fullmatch(label) for label in name.split("."))


def _name(value: Any, zone: str) -> str:
    if isinstance(value, str) and value.strip():
        try:
            return full_name(value, zone)
        except ValueError as error:
            raise refuse(400, 9000, "DNS name is invalid.") from error
    raise refuse(400, 9000, "DNS name is required.")


def _proxied(value: Any, kind: str) -> bool:
    if not isinstance(value, bool | None):
        raise refuse(400, 9003, "Invalid 'proxied' value, must be a boolean.")
    if value and kind not in PROXIABLE:
        raise refuse(400, 9004, "This record type cannot be proxied.")
    return bool(value)


def _ttl(value: Any) -> int:
    ttl = 1 if value is None else value
    if isinstance(ttl, float) and ttl.is_integer():
        ttl = int(ttl)
    if not isinstance(ttl, int) or ttl is True or not (ttl == 1 or 60 <= ttl <= 86400):
        message = "Invalid TTL. Must be between 60 and 86400 seconds, or 1 for Automatic."
        raise refuse(400, 9021, message)
    return ttl


def _priority(value: Any) -> int:
    if value is None:
        raise refuse(400, 9101, "priority is a required field.")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 65535:
        raise refuse(400, 9102, "priority must be between 0 and 65535.")
    return value


def _settings(value: Any) -> Document:
    if not isinstance(value, dict | None):
        raise refuse(400, 9207, "Request body is invalid.")
    return value or {}


def _comment(value: Any) -> str | None:
    if not isinstance(value, str | None):
        raise refuse(400, 9207, "Request body is invalid.")
    if value and len(value) > MAX_COMMENT:
        raise refuse(400, 9301, f"DNS record comment exceeds {MAX_COMMENT} characters.")
    return value or None


def _tags(value: Any) -> list[str]:
    tags = [] if value is None else value
    if not isinstance(tags, list) or not all(isinstance(tag, str) and tag for tag in tags):
        raise refuse(400, 9207, "Request body is invalid.")
    if len(tags) > MAX_TAGS:
        message = f"DNS record has {len(tags)} tags, exceeding the quota of {MAX_TAGS}."
        raise refuse(400, 9300, message)
    return tags


def _content(kind: str, value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _INVALID[kind]()
    try:
        written = CONTENT[kind](value.strip())
    except ValueError as error:
        raise _INVALID[kind]() from error
    if kind == "CNAME" and written == name:
        raise refuse(400, 9039, "CNAME content cannot reference itself.")
    return written


def _hostname(value: str) -> str:
    plain = value.rstrip(".").lower()
    if not is_hostname(plain) or plain.replace(".", "").isdigit():
        raise ValueError(f"not a host name: {value!r}")
    return plain


def _text(value: str) -> str:
    if len(value) > MAX_TXT:
        raise ValueError("too long")
    return value


CONTENT: dict[str, Callable[[str], str]] = {
    "A": lambda value: str(ipaddress.IPv4Address(value)),
    "AAAA": lambda value: str(ipaddress.IPv6Address(value)),
    "CNAME": _hostname,
    "MX": _hostname,
    "TXT": _text,
}
"""The record types that are offered, each with what brings its content into the API's form."""

_INVALID: dict[str, Callable[[], ApiError]] = {
    "A": lambda: refuse(400, 9005, "Content for A record must be a valid IPv4 address."),
    "AAAA": lambda: refuse(400, 9006, "Content for AAAA record must be a valid IPv6 address."),
    "CNAME": lambda: refuse(400, 9007, "Content for CNAME record is invalid."),
    "MX": lambda: refuse(400, 9009, "Content for MX record is invalid."),
    "TXT": lambda: refuse(400, 9011, "Content for TXT record is invalid."),
}
