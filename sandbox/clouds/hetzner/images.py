"""Images: the vendor's systems, and the snapshots and backups of servers."""

from typing import Literal

from flask import Response, jsonify, request
from flask.typing import ResponseReturnValue

from sandbox.clouds.hetzner import catalog
from sandbox.clouds.hetzner.actions import Actions
from sandbox.clouds.hetzner.cloud import IMAGE, Cloud, now
from sandbox.clouds.hetzner.errors import ApiError, invalid_input, not_found, protected
from sandbox.clouds.hetzner.inputs import Body, IdOrName, LabelMap, find, read_body
from sandbox.clouds.hetzner.listing import answer_list, flag, narrowed
from sandbox.clouds.hetzner.routes import Routes
from sandbox.clouds.store import Document
from sandbox.machines.driver import MachineError


class ImageChange(Body):
    """The body of PUT /images/ID; a backup can become a snapshot."""

    description: str | None = None
    type: Literal["snapshot"] | None = None
    labels: LabelMap | None = None


class ImageProtection(Body):
    """The body of change_protection."""

    delete: bool | None = None


class Images:
    """All verbs of /images and their actions."""

    def __init__(self, cloud: Cloud, actions: Actions) -> None:
        self._cloud = cloud
        self._actions = actions

    def routes(self) -> Routes:
        """The endpoints."""
        return [
            ("GET", "/images", self.list_all),
            ("GET", "/images/<int:id_>", self.get),
            ("PUT", "/images/<int:id_>", self.update),
            ("DELETE", "/images/<int:id_>", self.delete),
            ("POST", "/images/<int:id_>/actions/change_protection", self.change_protection),
        ]

    def list_all(self) -> Response:
        """Images by name, type, architecture, status, bound_to and labels; deprecated ones only
        with include_deprecated."""
        images = all_images(self._cloud)
        if not flag("include_deprecated"):
            images = [i for i in images if not i["deprecated"]]
        # hcloud-python sends its page size as `status` (2.27); the vendor lets that pass.
        known = {"available", "creating", "unavailable"}
        fields = ["name", "type", "architecture", "bound_to"]
        if known.intersection(request.args.getlist("status")):
            fields.append("status")
        return answer_list("images", narrowed(images, *fields))

    def get(self, id_: int) -> Response:
        """One image."""
        return jsonify({"image": must_find(self._cloud, id_)})

    def update(self, id_: int) -> Response:
        """Change description or labels, or keep a backup as a snapshot."""
        body = read_body(ImageChange)
        with self._cloud.store.transaction():
            image = self._own(id_)
            image |= body.model_dump(exclude_none=True)
            if body.type:
                image["bound_to"] = None
            self._cloud.store.put(IMAGE, id_, image)
        return jsonify({"image": image})

    def delete(self, id_: int) -> ResponseReturnValue:
        """Remove a snapshot or backup."""
        image = self._own(id_)
        if image["protection"]["delete"]:
            raise protected("image")
        if image["status"] == "creating":
            raise ApiError(423, "locked", "image is being created")
        try:
            self._cloud.machines.delete_image(str(id_))
        except MachineError as error:
            raise ApiError(503, "unavailable", str(error)) from error
        self._cloud.store.delete(IMAGE, id_)
        return "", 204

    def change_protection(self, id_: int) -> ResponseReturnValue:
        """Forbid or allow deleting."""
        body = read_body(ImageProtection)
        with self._cloud.store.transaction():
            image = self._own(id_)
            if body.delete is not None:
                image["protection"] = {"delete": body.delete}
            self._cloud.store.put(IMAGE, id_, image)
        action = self._actions.at_once("change_protection", ("image", id_))
        return jsonify({"action": self._actions.view(action)}), 201

    def _own(self, id_: int) -> Document:
        image = must_find(self._cloud, id_)
        if image["type"] == "system":
            raise ApiError(403, "forbidden", "system images cannot be changed")
        return image


def all_images(cloud: Cloud) -> list[Document]:
    """System images, then snapshots and backups."""
    return [*catalog.SYSTEM_IMAGES, *cloud.store.all(IMAGE)]


def must_find(cloud: Cloud, id_: int) -> Document:
    """An image by id. Raises ApiError not_found."""
    image = cloud.store.get(IMAGE, id_) or find(catalog.SYSTEM_IMAGES, id_)
    if image is None:
        raise not_found("image", id_)
    return image


def bootable(cloud: Cloud, reference: IdOrName, architecture: str, disk_gb: int) -> Document:
    """The image that a server of this architecture and disk is to start from.

    Raises ApiError: not_found, or invalid_input when it does not fit.
    """
    fitting = [i for i in all_images(cloud) if i["architecture"] == architecture]
    image = find(fitting, reference) or find(all_images(cloud), reference)
    if image is None:
        raise ApiError(404, "not_found", "image not found")
    if image["architecture"] != architecture:
        raise invalid_input({"image": ["architecture does not match the server type"]})
    if image["deprecated"]:
        raise invalid_input({"image": ["image is no longer available"]})
    if image["status"] != "available":
        raise invalid_input({"image": ["image is not available yet"]})
    if image["disk_size"] > disk_gb:
        raise invalid_input({"image": ["image disk is bigger than server type disk"]})
    return image


def machine_image(image: Document) -> str:
    """The name under which the machines know an image."""
    return "base" if image["type"] == "system" else str(image["id"])


def of_server(cloud: Cloud, server: Document, type_: str, description: str) -> Document:
    """A new image of a server, still being created."""
    base = server["image"]
    return {
        "id": cloud.new_id(),
        "type": type_,
        "status": "creating",
        "name": None,
        "description": description,
        "image_size": None,
        "disk_size": server["primary_disk_size"],
        "created": now(),
        "created_from": {"id": server["id"], "name": server["name"]},
        "bound_to": server["id"] if type_ == "backup" else None,
        "os_flavor": base["os_flavor"],
        "os_version": base["os_version"],
        "rapid_deploy": False,
        "protection": {"delete": False},
        "deprecated": None,
        "deprecation": None,
        "deleted": None,
        "labels": {},
        "architecture": "x86",
    }
