"""`hcloud:index/sshKey:SshKey`."""

from typing import TYPE_CHECKING, Any

from sandbox.plugins.hcloud.labels import LABELS, labels_of
from sandbox.plugins.resource import Known, Live, Operation, Resource
from sandbox.plugins.schema import Field
from sandbox.plugins.values import Props

if TYPE_CHECKING:
    from sandbox.plugins.hcloud.api import Hetzner


class SshKey(Resource["Hetzner"]):
    """A public key of the project.

    The official plugin replaces it for a new `publicKey` (the API can't change one), which its
    schema does not show.
    """

    token = "hcloud:index/sshKey:SshKey"
    fields = {
        "labels": LABELS,
        "name": Field("string", required=True),
        "publicKey": Field("string", required=True, replace=True),
    }
    computed = ("fingerprint",)
    named = True

    def comparable(self, name: str, have: Any, wanted: Any) -> tuple[Any, Any]:
        """The cloud strips the white space around a key."""
        if name == "publicKey" and isinstance(have, str) and isinstance(wanted, str):
            return have.strip(), wanted.strip()
        return have, wanted

    def expected(self, inputs: Props) -> Props:
        """Labels are always there."""
        return {"labels": {}} | super().expected(inputs)

    def create(self, operation: Operation["Hetzner"], inputs: Props) -> Live:
        """POST it."""
        body = {
            "name": inputs["name"],
            "public_key": inputs["publicKey"],
            "labels": labels_of(inputs.get("labels")),
        }
        answer = operation.backend.send(operation, "POST", "/ssh_keys", body)
        return _live(answer["ssh_key"])

    def read(self, operation: Operation["Hetzner"], known: Known) -> Live | None:
        """GET it."""
        found = operation.backend.find(operation, f"/ssh_keys/{known.resource_id}", "ssh_key")
        return _live(found) if found else None

    def update(self, operation: Operation["Hetzner"], known: Known, inputs: Props) -> Props:
        """PUT what changed of name and labels."""
        body: dict[str, Any] = {}
        if inputs["name"] != known.state.get("name"):
            body["name"] = inputs["name"]
        if labels_of(inputs.get("labels")) != labels_of(known.state.get("labels")):
            body["labels"] = labels_of(inputs.get("labels"))
        answer = operation.backend.send(operation, "PUT", f"/ssh_keys/{known.resource_id}", body)
        return _live(answer["ssh_key"]).outputs

    def delete(self, operation: Operation["Hetzner"], known: Known) -> None:
        """DELETE it."""
        operation.backend.delete(operation, f"/ssh_keys/{known.resource_id}")


def _live(key: dict[str, Any]) -> Live:
    outputs = {
        "fingerprint": key["fingerprint"],
        "id": str(key["id"]),
        "labels": key["labels"],
        "name": key["name"],
        "publicKey": key["public_key"],
    }
    return Live(str(key["id"]), outputs)
