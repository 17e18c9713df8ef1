"""SSH keys."""

import base64
import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from flask import Response, jsonify
from flask.typing import ResponseReturnValue

from sandbox.clouds.hetzner.cloud import SSH_KEY, Cloud, now
from sandbox.clouds.hetzner.errors import invalid_input, uniqueness_error
from sandbox.clouds.hetzner.inputs import Body, LabelMap, Name, Rename, read_body
from sandbox.clouds.hetzner.listing import answer_list, narrowed
from sandbox.clouds.hetzner.routes import Routes
from sandbox.clouds.store import Document


class NewKey(Body):
    """The body of POST /ssh_keys."""

    name: Name
    public_key: str
    labels: LabelMap | None = None


class SshKeys:
    """All verbs of /ssh_keys."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> Routes:
        """The endpoints."""
        return [
            ("GET", "/ssh_keys", self.list_all),
            ("POST", "/ssh_keys", self.create),
            ("GET", "/ssh_keys/<int:id_>", self.get),
            ("PUT", "/ssh_keys/<int:id_>", self.update),
            ("DELETE", "/ssh_keys/<int:id_>", self.delete),
        ]

    def list_all(self) -> Response:
        """Keys, by name, fingerprint or labels."""
        keys = self._cloud.store.all(SSH_KEY)
        return answer_list("ssh_keys", narrowed(keys, "name", "fingerprint"))

    def get(self, id_: int) -> Response:
        """One key."""
        return jsonify({"ssh_key": self._cloud.must_get(SSH_KEY, id_)})

    def create(self) -> ResponseReturnValue:
        """Add a key; its name and the key itself are unique."""
        body = read_body(NewKey)
        key: Document = {
            "id": 0,
            "name": body.name,
            "fingerprint": fingerprint(body.public_key),
            "public_key": body.public_key,
            "labels": body.labels or {},
            "created": now(),
        }
        with self._cloud.store.transaction():
            self._check_unique(key)
            key["id"] = self._cloud.new_id()
            self._cloud.store.put(SSH_KEY, key["id"], key)
        return jsonify({"ssh_key": key}), 201

    def update(self, id_: int) -> Response:
        """Change name or labels."""
        body = read_body(Rename)
        with self._cloud.store.transaction():
            key = self._cloud.must_get(SSH_KEY, id_)
            key |= body.model_dump(exclude_none=True)
            self._check_unique(key)
            self._cloud.store.put(SSH_KEY, id_, key)
        return jsonify({"ssh_key": key})

    def delete(self, id_: int) -> ResponseReturnValue:
        """Forget a key; servers made with it keep it."""
        with self._cloud.store.transaction():
            self._cloud.must_get(SSH_KEY, id_)
            self._cloud.store.delete(SSH_KEY, id_)
        return "", 204

    def _check_unique(self, key: Document) -> None:
        for other in self._cloud.store.all(SSH_KEY):
            if other["id"] == key["id"]:
                continue
            if other["name"] == key["name"]:
                raise uniqueness_error("SSH key name is already used", "name")
            if other["fingerprint"] == key["fingerprint"]:
                message = "SSH key with the same fingerprint already exists"
                raise uniqueness_error(message, "public_key")


def fingerprint(public_key: str) -> str:
    """The MD5 fingerprint of an OpenSSH public key (RFC 4716, section 4).

    Raises ApiError invalid_input for anything else.
    """
    try:
        load_ssh_public_key(public_key.encode())
        blob = base64.b64decode(public_key.split()[1], validate=True)
    except (ValueError, UnsupportedAlgorithm, IndexError) as error:
        raise invalid_input({"public_key": ["is not a valid SSH public key"]}) from error
    digest = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))
