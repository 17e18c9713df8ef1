"""What is done with a server that stands: power, restart, a copy of its disk.

Hetzner's API does it; the program says nothing of it, so no engine runs.

A server is named by the id that the stack's state has, "" if it has none: then the one that carries
the instance's labels. Whatever would change it looks at the labels first.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import hcloud
from hcloud.actions import Action, ActionFailedException, BoundAction
from hcloud.images import BoundImage
from hcloud.servers import BoundServer, Server

from stacks.clouds import hetzner_client, hetzner_errors, labels_of, selector
from stacks.errors import OperationFailed
from stacks.settings import Settings

ACTION_S = 120.0  # power actions take seconds; what they wait for, a resize say, a minute
SHUTDOWN_S = 60.0  # a guest that has not obeyed by then does not listen
BACKUP_S = 3600.0  # Hetzner copies some 80 GB in minutes, under load in many
POLL_S, POLL_MAX_S = 0.2, 5.0  # Hetzner allows 3600 requests an hour

FINAL_BACKUP = "final-backup"
NOT_FOUND = "not_found"  # Hetzner's code


class Servers:
    """The instances' servers at Hetzner. Methods raise Refused and OperationFailed."""

    def __init__(self, settings: Settings) -> None:
        self._hetzner = hetzner_client(settings)

    def status(self, slug: str, server_id: str) -> str | None:
        """Hetzner's word: running, off, starting, …; None if there is no such server."""
        with hetzner_errors():
            server = self._find(slug, server_id)
        return str(server.status) if server else None

    def stands(self, server_id: str) -> bool:
        """Whether there is a server of that id, once nothing else is done with it any more."""
        with hetzner_errors():
            server = self._by_id(server_id)
            try:
                if server:
                    _await_unlocked(server)
            except hcloud.APIException as error:
                if error.code != NOT_FOUND:
                    raise
                return False  # what was done with it was its end
        return server is not None

    def power(self, slug: str, server_id: str, on: bool, patience_s: float = SHUTDOWN_S) -> None:
        """Switch it on, or shut it down; one that ignores that for `patience_s` is cut off."""
        with hetzner_errors():
            server = self._ours(slug, server_id)
            if on:
                _switch_on(server)
            elif not _shut_down(server, patience_s):
                _await(server.power_off())

    def power_on(self, server_id: str) -> bool:
        """Switch on the server of that id; False if it is on already."""
        with hetzner_errors():
            return _switch_on(self._hetzner.servers.get_by_id(int(server_id)))

    def restart(self, slug: str, server_id: str, patience_s: float = SHUTDOWN_S) -> None:
        """Shut it down and switch it on; one that ignores that for `patience_s` is reset.

        Not Hetzner's reboot: that is only a request, and nobody learns whether it was heard.
        """
        with hetzner_errors():
            server = self._ours(slug, server_id)
            if _shut_down(server, patience_s):
                _switch_on(server)
            else:
                _await(server.reset())

    def back_up(self, slug: str, server_id: str) -> str:
        """The id of the final snapshot of its disk, made now unless it exists; "" without one."""
        with hetzner_errors():
            if self._find(slug, server_id) is None:
                return ""
            server = self._ours(slug, server_id)
            image = self._backup_of(slug, server) or _snapshot(slug, server)
            if not _until(lambda: _status(image) != "creating", BACKUP_S):
                raise _too_slow(f"the backup of {slug}")
        if image.status != "available":
            raise OperationFailed(
                f"the backup of {slug}, image {image.id}, is {image.status}",
                "delete it in Hetzner's console, then run the same command again",
            )
        return str(image.id)

    def delete_backup(self, image_id: str) -> None:
        """Delete a final backup; done if it is gone. OperationFailed if the image is another."""
        with hetzner_errors():
            try:
                image = self._hetzner.images.get_by_id(int(image_id))
            except hcloud.APIException as error:
                if error.code != NOT_FOUND:
                    raise
                return
            if (image.labels or {}).get("reason") != FINAL_BACKUP:
                raise OperationFailed(
                    f"image {image_id} is no final backup",
                    "delete it in Hetzner's console, if it is not wanted",
                )
            image.delete()

    def _backup_of(self, slug: str, server: BoundServer) -> BoundImage | None:
        found = self._hetzner.images.get_all(label_selector=selector(_backup_labels(slug, server)))
        return found[0] if found else None

    def _find(self, slug: str, server_id: str) -> BoundServer | None:
        if server_id and (server := self._by_id(server_id)):
            return server
        found = self._hetzner.servers.get_all(label_selector=selector(labels_of(slug)))
        if len(found) > 1:
            raise OperationFailed(
                f"{slug} has {len(found)} servers: {', '.join(str(s.id) for s in found)}",
                "look at them in Hetzner's console and delete the wrong ones",
            )
        return found[0] if found else None

    def _by_id(self, server_id: str) -> BoundServer | None:
        try:
            return self._hetzner.servers.get_by_id(int(server_id))
        except hcloud.APIException as error:
            if error.code != NOT_FOUND:
                raise
            return None

    def _ours(self, slug: str, server_id: str) -> BoundServer:
        """The server, when nothing else is done with it any more: until then it takes no order."""
        server = self._find(slug, server_id)
        if server is None:
            raise OperationFailed(
                f"{slug} has no server", f"make it: python -m stacks up {slug} --refresh"
            )
        if not labels_of(slug).items() <= (server.labels or {}).items():
            raise OperationFailed(
                f"server {server.id} does not carry the labels of {slug}",
                f"if it is the right one: python -m stacks up {slug} --refresh",
            )
        _await_unlocked(server)
        return server


def _switch_on(server: BoundServer) -> bool:
    _await_unlocked(server)
    if server.status == Server.STATUS_RUNNING:
        return False
    _await(server.power_on())
    return True


def _shut_down(server: BoundServer, patience_s: float) -> bool:
    """Ask the guest to go off; whether it has, `patience_s` after the request."""
    if _status(server) != Server.STATUS_OFF:
        _await(server.shutdown())
    return _until(lambda: _status(server) == Server.STATUS_OFF, patience_s)


def _snapshot(slug: str, server: BoundServer) -> BoundImage:
    made = server.create_image(
        description=f"{slug}: final backup, {datetime.now(UTC):%Y-%m-%d}",
        type="snapshot",
        labels=_backup_labels(slug, server),
    )
    _await(made.action, BACKUP_S)
    return made.image


def _backup_labels(slug: str, server: BoundServer) -> dict[str, str]:
    return {**labels_of(slug), "reason": FINAL_BACKUP, "server": str(server.id)}


def _await(action: BoundAction, limit_s: float = ACTION_S) -> None:
    """Return when the action has succeeded."""
    if not _until(lambda: _status(action) != Action.STATUS_RUNNING, limit_s):
        raise _too_slow(f"{action.command} (action {action.id})")
    if action.status == Action.STATUS_ERROR:
        raise ActionFailedException(action=action)


def _await_unlocked(server: BoundServer) -> None:
    def unlocked() -> bool:
        server.reload()
        return not server.locked

    if not _until(unlocked, ACTION_S):
        raise _too_slow(f"what it does with server {server.id}")


def _status(thing: BoundServer | BoundImage | BoundAction) -> str:
    thing.reload()
    return str(thing.status)


def _until(look: Callable[[], bool], limit_s: float) -> bool:
    """Whether `look` comes true within the limit; it is called less often the longer it takes."""
    ends, pause_s = time.monotonic() + limit_s, POLL_S
    while not look():
        if time.monotonic() > ends:
            return False
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, POLL_MAX_S)
    return True


def _too_slow(what: str) -> OperationFailed:
    return OperationFailed(
        f"Hetzner takes too long: {what}", "look at it in Hetzner's console, then try again"
    )
