"""The document that every install step reads: checks it, and prints it as shell assignments.

{"slug", "domain", "hostname", "release": {"release", "node": {"version", "url", "checksum"},
"openclaw": {"version", "package"}, "caddy": {"version", "url", "checksum"}}, "gateway_token",
"anthropic_api_key", "model_base_url" ("" for Anthropic's own), "origin_certificate", "origin_key"}
"""

import json
import re
import shlex
import sys

LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HOSTNAME = rf"({LABEL}\.)+{LABEL}"
VERSION = r"[0-9A-Za-z][0-9A-Za-z.+-]*"
URL = r"https?://[^\s'\"]+"
CHECKSUM = r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}"
SECRET = r"[!#-&(-\[\]-~]+"  # no blanks, quotes or backslashes: it goes into an environment file
PEM = r"-----BEGIN [A-Z ]+-----\n[\s\S]+\n-----END [A-Z ]+-----\s*"

FIELDS = {
    "slug": LABEL,
    "domain": HOSTNAME,
    "hostname": HOSTNAME,
    "release.release": VERSION,
    "release.node.version": VERSION,
    "release.node.url": URL,
    "release.node.checksum": CHECKSUM,
    "release.openclaw.version": VERSION,
    "release.openclaw.package": VERSION,
    "release.caddy.version": VERSION,
    "release.caddy.url": URL,
    "release.caddy.checksum": CHECKSUM,
    "gateway_token": SECRET,
    "anthropic_api_key": SECRET,
    "model_base_url": rf"({URL})?",
    "origin_certificate": PEM,
    "origin_key": PEM,
}


def load(text: str) -> dict[str, str]:
    """The document's values by dotted name; raises ValueError naming a field that is wrong.

    The message never quotes a value, which may be a secret.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        raise ValueError("the parameters on standard input are not JSON") from None
    values = {}
    for name, pattern in FIELDS.items():
        value = document
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(f"parameter {name} is {'missing' if value is None else 'malformed'}")
        values[name] = value
    return values


def main() -> None:
    """Print `RELEASE_NODE_URL='…'` and so on, for `eval`."""
    try:
        values = load(sys.stdin.read())
    except ValueError as error:
        sys.exit(str(error))
    for name, value in values.items():
        print(f"{name.replace('.', '_').upper()}={shlex.quote(value)}")


if __name__ == "__main__":
    main()
