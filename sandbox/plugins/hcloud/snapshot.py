"""`hcloud:index/snapshot:Snapshot`."""

from typing import TYPE_CHECKING, Any

from sandbox.plugins.errors import InitFailedError, PluginError
from sandbox.plugins.hcloud.labels import LABELS, labels_of
from sandbox.plugins.resource import Known, Live, Operation, Resource
from sandbox.plugins.schema import Field
from sandbox.plugins.values import Props

if TYPE_CHECKING:
    from sandbox.plugins.hcloud.api import Hetzner


class Snapshot(Resource["Hetzner"]):
    """An image of a server's disk."""

    token = "hcloud:index/snapshot:Snapshot"
    fields = {
        "description": Field("string"),
        "labels": LABELS,
        "serverId": Field("number", required=True, replace=True),
    }
    records_defaults = True

    def create(self, operation: Operation["Hetzner"], inputs: Props) -> Live:
        """POST create_image, wait, and read it."""
        body: dict[str, Any] = {
            "type": "snapshot",
            "description": str(inputs.get("description", "")),
        }
        if inputs.get("labels"):
            body["labels"] = labels_of(inputs["labels"])
        path = f"/servers/{inputs['serverId']}/actions/create_image"
        answer = operation.backend.send(operation, "POST", path, body)
        image_id = str(answer["image"]["id"])
        try:
            operation.backend.wait_for(operation, answer)
            return self._found(operation, image_id)
        except PluginError as error:
            raise InitFailedError(str(error), image_id, self.expected(inputs)) from error

    def read(self, operation: Operation["Hetzner"], known: Known) -> Live | None:
        """GET the image; one of another type is not ours."""
        found = operation.backend.find(operation, f"/images/{known.resource_id}", "image")
        return _live(found) if found and found["type"] == "snapshot" else None

    def update(self, operation: Operation["Hetzner"], known: Known, inputs: Props) -> Props:
        """PUT the description and the labels, each when it changed."""
        path = f"/images/{known.resource_id}"
        description = str(inputs.get("description", ""))
        if description != (known.state.get("description") or ""):
            operation.backend.send(operation, "PUT", path, {"description": description})
        labels = labels_of(inputs.get("labels"))
        if labels != labels_of(known.state.get("labels")):
            operation.backend.send(operation, "PUT", path, {"labels": labels})
        return self._found(operation, known.resource_id).outputs

    def delete(self, operation: Operation["Hetzner"], known: Known) -> None:
        """DELETE the image."""
        operation.backend.delete(operation, f"/images/{known.resource_id}")

    def _found(self, operation: Operation["Hetzner"], image_id: str) -> Live:
        live = self.read(operation, Known(image_id))
        if live is None:
            raise PluginError(f"snapshot {image_id} vanished while we worked on it")
        return live


def _live(image: dict[str, Any]) -> Live:
    source = image.get("created_from") or {}
    outputs = {
        "description": image.get("description") or "",
        "id": str(image["id"]),
        "labels": image.get("labels") or {},
        "serverId": source.get("id"),
    }
    return Live(str(image["id"]), outputs)
