"""Actions: what Hetzner does in the background, with progress, and how one reads about it."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from flask import Response, jsonify, request

from sandbox.clouds.hetzner.cloud import ACTION, Cloud, now, public
from sandbox.clouds.hetzner.errors import ApiError, invalid_input, not_found
from sandbox.clouds.hetzner.listing import answer_list, narrowed
from sandbox.clouds.hetzner.routes import Routes
from sandbox.clouds.store import Document
from sandbox.machines.driver import MachineError

Work = Callable[[Cloud, Document], None]
"""Does an action's work, blocking. It may be called again after a restart, so it is idempotent.
Raises MachineError when it fails."""

Settle = Callable[[Cloud, Sequence[Document], str | None], None]

SORTABLE = ("id", "command", "status", "progress", "started", "finished")
USUAL_SECONDS = 5.0
"""What progress is reckoned against where no length is set."""
LOOK_AGAIN_S = 0.2

log = logging.getLogger(__name__)


class Actions:
    """Keeps actions and runs their work, one thread for each sequence of them.

    `settle` is told the actions of a sequence and what went wrong right before the last one shows
    as finished, inside the same transaction: whoever sees the end of an action sees its resources
    at rest.
    """

    def __init__(self, cloud: Cloud, work: Mapping[str, Work], settle: Settle) -> None:
        self._cloud = cloud
        self._work = work
        self._settle = settle
        self._stopping = threading.Event()
        self._threads: set[threading.Thread] = set()
        self._guard = threading.Lock()

    def add(
        self,
        command: str,
        *resources: tuple[str, int],
        after: Document | None = None,
        work: Document | None = None,
    ) -> Document:
        """A new action with status running; call inside the transaction of what it belongs to,
        and `launch` it when that is committed. `after`: the action it waits for. `work`: what the
        work needs to know, kept with the action."""
        id_ = self._cloud.new_id()
        action = {
            "id": id_,
            "command": command,
            "status": "running",
            "progress": 0,
            "started": now(),
            "finished": None,
            "resources": [{"id": number, "type": kind} for kind, number in resources],
            "error": None,
            "_sequence": after["_sequence"] if after else id_,
            "_started": time.time(),
            "_work": work or {},
        }
        self._cloud.store.put(ACTION, id_, action)
        return action

    def launch(self, *sequence: Document) -> None:
        """Do the work of the actions one after the other, in the background."""
        thread = threading.Thread(
            target=self._run, args=(sequence,), name=f"hetzner-{sequence[0]['id']}", daemon=True
        )
        with self._guard:
            self._threads = {t for t in self._threads if t.is_alive()} | {thread}
            thread.start()

    def at_once(self, command: str, *resources: tuple[str, int]) -> Document:
        """An action whose work the caller has done: finished, unless actions are set to be slow.
        Call it outside of a transaction."""
        action = self.add(command, *resources)
        if self._cloud.action_seconds():
            self.launch(action)
        else:
            action = self._finish(action, None)
        return action

    def resume(self) -> None:
        """Take up what an earlier process left running."""
        sequences: dict[int, list[Document]] = {}
        for action in self._cloud.store.all(ACTION):
            if action["status"] == "running":
                sequences.setdefault(action["_sequence"], []).append(action)
        for sequence in sequences.values():
            self.launch(*sequence)

    def close(self, timeout_s: float) -> bool:
        """Let work under way end and begin none; what is left running is resumed by the next
        process. Whether all work ended in time."""
        self._stopping.set()
        deadline = time.monotonic() + timeout_s
        with self._guard:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def view(self, action: Document) -> Document:
        """The action as the vendor shows it."""
        shown = public(action)
        if action["status"] == "running":
            whole = max(self._cloud.action_seconds(), USUAL_SECONDS)
            elapsed = time.time() - action["_started"]
            shown["progress"] = max(0, min(95, int(100 * elapsed / whole)))
        return shown

    def _run(self, sequence: Sequence[Document]) -> None:
        for position, action in enumerate(sequence):
            if self._stopping.is_set():
                return
            error = self._do(action)
            if error is None and self._wait(action):
                return
            last = error is not None or position == len(sequence) - 1
            with self._cloud.store.transaction():
                if last:
                    self._settle(self._cloud, sequence, error)
                self._finish(action, error)
                if error is not None:
                    for later in sequence[position + 1 :]:
                        self._finish(later, error)
            if last:
                return

    def _do(self, action: Document) -> str | None:
        """Do one action's work; what went wrong, or None."""
        work = self._work.get(action["command"])
        try:
            if work is not None:
                work(self._cloud, action)
        except MachineError as error:
            return str(error)
        except Exception as error:
            # A defect of ours must not leave an action running for ever.
            log.exception("action %s (%s) failed", action["id"], action["command"])
            return f"{type(error).__name__}: {error}"
        return None

    def _wait(self, action: Document) -> bool:
        """Wait until the action has lasted as long as set, which may be changed meanwhile;
        whether the process is ending."""
        while (rest := action["_started"] + self._cloud.action_seconds() - time.time()) > 0:
            if self._stopping.wait(min(rest, LOOK_AGAIN_S)):
                return True
        return False

    def _finish(self, action: Document, error: str | None) -> Document:
        ended = {
            **action,
            "status": "error" if error else "success",
            "progress": 100,
            "finished": now(),
            "error": {"code": "action_failed", "message": error} if error else None,
        }
        self._cloud.store.put(ACTION, action["id"], ended)
        return ended


class ActionViews:
    """The endpoints that tell about actions."""

    def __init__(self, cloud: Cloud, actions: Actions) -> None:
        self._cloud = cloud
        self._actions = actions

    def routes(self) -> Routes:
        """All actions by id, and those of each kind of resource."""
        routes: Routes = [
            ("GET", "/actions", self.some),
            ("GET", "/actions/<int:action_id>", self.one),
        ]
        for plural, kind in (
            ("servers", "server"),
            ("firewalls", "firewall"),
            ("images", "image"),
            ("primary_ips", "primary_ip"),
        ):
            routes += self._of_kind(plural, kind)
        return routes

    def some(self) -> Response:
        """The actions named by `?id=1&id=2`. Without ids the vendor removed this endpoint
        (changelog of 2025-01-30)."""
        if not request.args.getlist("id"):
            message = "listing all actions was removed, use the actions of a resource"
            raise ApiError(410, "deprecated_api_endpoint", message)
        return self._list(self._named())

    def one(self, action_id: int) -> Response:
        """One action."""
        return jsonify({"action": self._actions.view(self._cloud.must_get(ACTION, action_id))})

    def _named(self) -> list[Document]:
        ids = request.args.getlist("id")
        if not all(id_.isdecimal() for id_ in ids):
            raise invalid_input({"id": ["must be a number"]})
        found = (self._cloud.store.get(ACTION, id_) for id_ in dict.fromkeys(ids))
        return [action for action in found if action]

    def _list(self, actions: list[Document]) -> Response:
        shown = [self._actions.view(action) for action in actions]
        return answer_list("actions", narrowed(shown, "status", labels=False), SORTABLE)

    def _of_kind(self, plural: str, kind: str) -> Routes:
        def of_all() -> Response:
            found = [a for a in self._cloud.store.all(ACTION) if _about(a, kind)]
            return self._list(found)

        def of_one(id_: int) -> Response:
            found = [a for a in self._cloud.store.all(ACTION) if _about(a, kind, id_)]
            if not found:
                self._cloud.must_get(f"hetzner.{kind}", id_)
            return self._list(found)

        def one_of_one(id_: int, action_id: int) -> Response:
            action = self._cloud.must_get(ACTION, action_id)
            if not _about(action, kind, id_):
                raise not_found("action", action_id)
            return jsonify({"action": self._actions.view(action)})

        return [
            ("GET", f"/{plural}/actions", of_all),
            ("GET", f"/{plural}/actions/<int:action_id>", self.one),
            ("GET", f"/{plural}/<int:id_>/actions", of_one),
            ("GET", f"/{plural}/<int:id_>/actions/<int:action_id>", one_of_one),
        ]


def _about(action: Document, kind: str, id_: int | None = None) -> bool:
    return any(
        resource["type"] == kind and id_ in (None, resource["id"])
        for resource in action["resources"]
    )
