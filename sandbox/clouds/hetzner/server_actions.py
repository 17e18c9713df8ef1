"""What one can do with a server: power, rebuild, resize, images, backups, protection, names."""

from flask import jsonify
from flask.typing import ResponseReturnValue

from sandbox.clouds.hetzner.actions import Actions
from sandbox.clouds.hetzner.cloud import IMAGE, SERVER, Cloud
from sandbox.clouds.hetzner.errors import ApiError, invalid_input, locked, protected
from sandbox.clouds.hetzner.images import bootable, of_server
from sandbox.clouds.hetzner.inputs import read_body
from sandbox.clouds.hetzner.primary_ips import DnsPtr, set_dns_ptr
from sandbox.clouds.hetzner.routes import Routes, View
from sandbox.clouds.hetzner.server_bodies import ChangeType, CreateImage, Rebuild, ServerProtection
from sandbox.clouds.hetzner.server_create import check_stock, find_type
from sandbox.clouds.hetzner.server_view import addresses
from sandbox.clouds.store import Document

BACKUP_WINDOW = "22-02"
POWER = {
    # endpoint: (the action's command, the status meanwhile)
    "poweron": ("start_server", "starting"),
    "poweroff": ("stop_server", "stopping"),
    "shutdown": ("shutdown_server", "stopping"),
    "reboot": ("reboot_server", None),
    "reset": ("reset_server", None),
}


class ServerActions:
    """POST /servers/ID/actions/…

    Shutdown and reboot end when the guest has obeyed, or was cut off after the driver's patience
    (the vendor's end when the request is sent).
    """

    def __init__(self, cloud: Cloud, actions: Actions) -> None:
        self._cloud = cloud
        self._actions = actions

    def routes(self) -> Routes:
        """The endpoints."""
        views: dict[str, View] = {
            "rebuild": self.rebuild,
            "change_type": self.change_type,
            "create_image": self.create_image,
            "enable_backup": self.enable_backup,
            "disable_backup": self.disable_backup,
            "change_protection": self.change_protection,
            "change_dns_ptr": self.change_dns_ptr,
        }
        views |= {name: self._power_view(name) for name in POWER}
        return [("POST", f"/servers/<int:id_>/actions/{name}", v) for name, v in views.items()]

    def rebuild(self, id_: int) -> ResponseReturnValue:
        """Start again from an image, on an empty disk, with the same or new user-data."""
        body = read_body(Rebuild)
        with self._cloud.store.transaction():
            server = self._free(id_)
            if server["protection"]["rebuild"]:
                raise protected("server")
            disk = server["primary_disk_size"]
            server["image"] = bootable(self._cloud, body.image, "x86", disk)
            if body.user_data is not None:
                server["_user_data"] = body.user_data
            new_seed = body.user_data is not None
            action = self._hold(server, "rebuild_server", "rebuilding", new_seed=new_seed)
        return self._launch(action, root_password=None)

    def change_type(self, id_: int) -> ResponseReturnValue:
        """Another size for a server that is off, and stays off."""
        body = read_body(ChangeType)
        with self._cloud.store.transaction():
            server = self._free(id_)
            type_ = find_type(self._cloud, body.server_type)
            if type_["name"] == server["server_type"]:
                raise _bad_type("server is already of this server type")
            if self._cloud.machines.state(id_) == "running":
                raise ApiError(422, "server_not_stopped", "server is not stopped")
            if type_["disk"] < server["primary_disk_size"]:
                raise _bad_type("server disk is bigger than the server type's")
            check_stock(type_, server["_location"])
            disk = type_["disk"] if body.upgrade_disk else server["primary_disk_size"]
            work = {"server_type": type_["name"], "disk": disk}
            action = self._hold(server, "change_server_type", "migrating", **work)
        return self._launch(action)

    def create_image(self, id_: int) -> ResponseReturnValue:
        """Keep the disk as a snapshot, or as a backup where backups are enabled."""
        body = read_body(CreateImage)
        type_ = body.type or "snapshot"
        with self._cloud.store.transaction():
            server = self._free(id_)
            if type_ == "backup" and server["backup_window"] is None:
                raise invalid_input({"type": ["backups are not enabled for this server"]})
            description = body.description or f"{server['name']} {type_}"
            image = of_server(self._cloud, server, type_, description)
            image["labels"] = body.labels or {}
            self._cloud.store.put(IMAGE, image["id"], image)
            about = ("image", image["id"])
            action = self._hold(server, "create_image", None, about, image=image["id"])
        return self._launch(action, image=image)

    def enable_backup(self, id_: int) -> ResponseReturnValue:
        """Allow backups. The sandbox makes none by itself: ask by create_image."""
        with self._cloud.store.transaction():
            server = self._free(id_)
            self._cloud.store.put(SERVER, id_, {**server, "backup_window": BACKUP_WINDOW})
        return self._done("enable_backup", id_)

    def disable_backup(self, id_: int) -> ResponseReturnValue:
        """No more backups; those that exist are deleted."""
        with self._cloud.store.transaction():
            server = {**self._free(id_), "backup_window": None}
            action = self._hold(server, "disable_backup", None)
        return self._launch(action)

    def change_protection(self, id_: int) -> ResponseReturnValue:
        """Forbid or allow deleting and rebuilding, which go together."""
        body = read_body(ServerProtection)
        with self._cloud.store.transaction():
            server = self._free(id_)
            changed = {**server["protection"], **body.model_dump(exclude_none=True)}
            if changed["delete"] != changed["rebuild"]:
                raise invalid_input({"rebuild": ["must have the same value as delete"]})
            self._cloud.store.put(SERVER, id_, {**server, "protection": changed})
        return self._done("change_protection", id_)

    def change_dns_ptr(self, id_: int) -> ResponseReturnValue:
        """The reverse DNS name of one of the server's addresses."""
        body = read_body(DnsPtr)
        with self._cloud.store.transaction():
            server = self._cloud.must_get(SERVER, id_)
            set_dns_ptr(self._cloud, addresses(self._cloud, server), body)
        return self._done("change_dns_ptr", id_)

    def _power_view(self, name: str) -> View:
        command, phase = POWER[name]

        def act(id_: int) -> ResponseReturnValue:
            with self._cloud.store.transaction():
                action = self._hold(self._free(id_), command, phase)
            return self._launch(action)

        return act

    def _free(self, id_: int) -> Document:
        server = self._cloud.must_get(SERVER, id_)
        if server["locked"]:
            raise locked()
        return server

    def _hold(
        self,
        server: Document,
        command: str,
        phase: str | None,
        *more: tuple[str, int],
        **work: object,
    ) -> Document:
        """Lock the server for an action about it; call inside a transaction."""
        self._cloud.store.put(SERVER, server["id"], {**server, "locked": True, "_phase": phase})
        held = {**work, "holds": server["id"]}
        return self._actions.add(command, ("server", server["id"]), *more, work=held)

    def _launch(self, action: Document, **more: object) -> ResponseReturnValue:
        self._actions.launch(action)
        return jsonify({**more, "action": self._actions.view(action)}), 201

    def _done(self, command: str, id_: int) -> ResponseReturnValue:
        action = self._actions.at_once(command, ("server", id_))
        return jsonify({"action": self._actions.view(action)}), 201


def _bad_type(message: str) -> ApiError:
    return ApiError(422, "invalid_server_type", message)
