"""What actions do to the machines behind servers. Every function may run again after a restart."""

from collections.abc import Mapping, Sequence

from sandbox.clouds.hetzner import catalog
from sandbox.clouds.hetzner.actions import Work
from sandbox.clouds.hetzner.cloud import IMAGE, PRIMARY_IP, SERVER, Cloud
from sandbox.clouds.hetzner.firewalls import forget_server
from sandbox.clouds.hetzner.images import machine_image
from sandbox.clouds.store import Document
from sandbox.machines.driver import MachineError, MachineSpec


def settle(cloud: Cloud, sequence: Sequence[Document], error: str | None) -> None:
    """Unlock the server of a sequence that held it, or forget it when the sequence deleted it;
    release or forget an image that was made. Call inside a transaction."""
    for action in sequence:
        server_id = action["_work"].get("holds")
        if action["command"] == "create_image":
            _settle_image(cloud, action["_work"]["image"], error)
        if action["command"] == "delete_server" and error is None:
            _forget(cloud, server_id)
        server = cloud.store.get(SERVER, server_id) if server_id else None
        if server:
            cloud.store.put(SERVER, server["id"], {**server, "locked": False, "_phase": None})


def _create(cloud: Cloud, action: Document) -> None:
    server = _server(cloud, action)
    cloud.machines.create(_spec(server))
    if not server["_start"]:
        cloud.machines.power_off(server["id"])
        return
    with cloud.store.transaction():
        server = _server(cloud, action)
        cloud.store.put(SERVER, server["id"], {**server, "_phase": "starting"})


def _power_on(cloud: Cloud, action: Document) -> None:
    cloud.machines.power_on(action["_work"]["holds"])


def _power_off(cloud: Cloud, action: Document) -> None:
    cloud.machines.power_off(action["_work"]["holds"])


def _shutdown(cloud: Cloud, action: Document) -> None:
    cloud.machines.shutdown(action["_work"]["holds"])


def _reboot(cloud: Cloud, action: Document) -> None:
    """Nobody answers the request to reboot on a server that is off."""
    if cloud.machines.state(action["_work"]["holds"]) == "running":
        cloud.machines.reboot(action["_work"]["holds"])


def _reset(cloud: Cloud, action: Document) -> None:
    cloud.machines.power_off(action["_work"]["holds"])
    cloud.machines.power_on(action["_work"]["holds"])


def _rebuild(cloud: Cloud, action: Document) -> None:
    server = _server(cloud, action)
    if action["_work"]["new_seed"]:
        # A machine keeps its seed for life: other user-data means another machine.
        cloud.machines.delete(server["id"])
        cloud.machines.create(_spec(server))
    else:
        cloud.machines.rebuild(server["id"], machine_image(server["image"]))


def _change_type(cloud: Cloud, action: Document) -> None:
    work = action["_work"]
    type_ = _type(work["server_type"])
    memory_mb = int(type_["memory"] * 1024)
    cloud.machines.resize(work["holds"], type_["cores"], memory_mb, work["disk"])
    with cloud.store.transaction():
        server = _server(cloud, action)
        server |= {"server_type": type_["name"], "primary_disk_size": work["disk"]}
        cloud.store.put(SERVER, server["id"], server)


def _create_image(cloud: Cloud, action: Document) -> None:
    work = action["_work"]
    size = cloud.machines.snapshot(work["holds"], str(work["image"]))
    with cloud.store.transaction():
        image = cloud.must_get(IMAGE, work["image"])
        cloud.store.put(IMAGE, image["id"], {**image, "image_size": round(size, 3)})


def _settle_image(cloud: Cloud, image_id: int, error: str | None) -> None:
    if error is not None:
        cloud.store.delete(IMAGE, image_id)
        return
    image = cloud.must_get(IMAGE, image_id)
    cloud.store.put(IMAGE, image_id, {**image, "status": "available"})


def _disable_backup(cloud: Cloud, action: Document) -> None:
    _delete_backups(cloud, action["_work"]["holds"])


def _delete(cloud: Cloud, action: Document) -> None:
    id_ = action["_work"]["holds"]
    cloud.machines.delete(id_)
    _delete_backups(cloud, id_)


def _forget(cloud: Cloud, server_id: int) -> None:
    cloud.store.delete(SERVER, server_id)
    forget_server(cloud, server_id)
    for address in cloud.store.all(PRIMARY_IP):
        if address["assignee_id"] == server_id:
            cloud.store.delete(PRIMARY_IP, address["id"])


def _delete_backups(cloud: Cloud, server_id: int) -> None:
    for image in cloud.store.all(IMAGE):
        if image["bound_to"] == server_id:
            cloud.machines.delete_image(str(image["id"]))
            cloud.store.delete(IMAGE, image["id"])


def _server(cloud: Cloud, action: Document) -> Document:
    server = cloud.store.get(SERVER, action["_work"]["holds"])
    if server is None:
        raise MachineError(f"server {action['_work']['holds']} is gone")
    return server


def _type(name: str) -> Document:
    return next(t for t in catalog.SERVER_TYPES if t["name"] == name)


def _spec(server: Document) -> MachineSpec:
    type_ = _type(server["server_type"])
    return MachineSpec(
        id=server["id"],
        name=server["name"],
        image=machine_image(server["image"]),
        user_data=server["_user_data"],
        ssh_keys=tuple(server["_ssh_keys"]),
        cores=type_["cores"],
        memory_mb=int(type_["memory"] * 1024),
        disk_gb=server["primary_disk_size"],
    )


WORK: Mapping[str, Work] = {
    "create_server": _create,
    "start_server": _power_on,
    "stop_server": _power_off,
    "shutdown_server": _shutdown,
    "reboot_server": _reboot,
    "reset_server": _reset,
    "rebuild_server": _rebuild,
    "change_server_type": _change_type,
    "create_image": _create_image,
    "disable_backup": _disable_backup,
    "delete_server": _delete,
}
"""By the vendor's name of the command; other commands are done when they are asked for."""
