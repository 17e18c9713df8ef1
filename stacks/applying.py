"""How `up` and `rebuild` make the world as the program says: approval, place, apply, aftermath."""

from typing import Any

from stacks import guard, recovery
from stacks.clouds import Clouds
from stacks.errors import NoCapacity, StackError
from stacks.events import RECORD_TYPE, SERVER_TYPE, STACK_TYPE, Recorder
from stacks.project import ProjectStack
from stacks.running import EngineCall, Operation
from stacks.servers import Servers
from stacks.settings import Settings

# In a stack's settings file: the server that a rebuild, which has not ended, was to end.
REBUILDING = "rebuilding"

# What leaves a server switched off when it ends half-way; switching off on purpose is none of them.
LEAVING_OFF = ("up", "rebuild", "restart")


class Applying:
    """Applies the program to stacks whose operation has begun."""

    def __init__(self, settings: Settings, clouds: Clouds, servers: Servers) -> None:
        self._settings = settings
        self._clouds = clouds
        self._servers = servers

    def recover(self, operation: Operation) -> None:
        """Bring state and clouds together if the last operation may have left something behind."""
        unclean = operation.lock.previous is not None
        if recovery.needs_recovery(operation.stack.deployment(), unclean):
            operation.notes += recovery.recover(operation.stack, self._clouds)

    def up(self, operation: Operation, refresh: bool, approved: bool) -> Recorder:
        """What `Stacks.up` says."""
        stack = operation.stack
        self._prepare(operation)
        if self._half_rebuilt(stack):
            approved = refresh = True  # the state may not know yet that the server is gone
        expected = stack.plain_value("serverId") or server_id(stack)
        plan = None
        if expected and not approved:
            plan = operation.run(preview(refresh), quiet=True)
            guard.check(stack.name, expected, plan)
        if refresh or not plan or _asks_for_something(plan, outputs(stack)):
            plan = self._where_there_is_stock(operation, refresh)
        self._after(operation, plan)
        return plan

    def rebuild(self, operation: Operation) -> Recorder:
        """Replace the server. NoCapacity, before anything is ended, if none is to be had."""
        stack = operation.stack
        self._prepare(operation)
        server = recovery.find_resource(stack.deployment(), SERVER_TYPE)
        if server is None:
            recorder = self._where_there_is_stock(operation, refresh=False)
        else:
            here = str(stack.plain_value("location"))
            wanted = dict.fromkeys((here, *self._settings.clawdet_locations))
            usable = self._clouds.locations_in_stock(stack.plain_value("serverType"), (*wanted,))
            stack.write_plain({REBUILDING: server["id"], "location": usable[0]})
            recorder = self._replace(operation, server["urn"])
        self._after(operation, recorder)
        return recorder

    def _half_rebuilt(self, stack: ProjectStack) -> bool:
        """Whether a rebuild that did not end has ended the server, which was approved then. One
        that still stands is not half anything: it stays, and where it is."""
        rebuilding = str(stack.plain_value(REBUILDING) or "")
        if not rebuilding:
            return False
        if not self._servers.stands(rebuilding):
            return True
        server = recovery.find_resource(stack.deployment(), SERVER_TYPE) or {}
        here = (server.get("outputs") or {}).get("location") or stack.plain_value("location")
        stack.write_plain({REBUILDING: "", "location": here})
        return False

    def _prepare(self, operation: Operation) -> None:
        self.recover(operation)
        if recovery.find_resource(operation.stack.deployment(), RECORD_TYPE) is None:
            self._clouds.check_name_is_free(operation.stack.name)

    def _replace(self, operation: Operation, urn: str) -> Recorder:
        try:
            return operation.run(_up(replace=[urn]))
        except NoCapacity as error:
            return self._elsewhere(operation, error, refresh=False)

    def _where_there_is_stock(self, operation: Operation, refresh: bool) -> Recorder:
        """Run `up`; a server that must be made is made in the first location that has one."""
        if not server_id(operation.stack):
            return self._first_in_stock(operation, refresh)
        try:
            return self._in_place(operation, refresh)
        except NoCapacity as error:
            return self._elsewhere(operation, error, refresh)

    def _elsewhere(self, operation: Operation, error: NoCapacity, refresh: bool) -> Recorder:
        """Go on in another location, unless the server still stands: nothing moves it then."""
        if server_id(operation.stack):
            raise error
        here = operation.stack.plain_value("location")
        operation.notes.append(f"{here} ran out of stock")
        return self._first_in_stock(operation, refresh, without=here)

    def _first_in_stock(self, operation: Operation, refresh: bool, without: str = "") -> Recorder:
        stack = operation.stack
        wanted = tuple(one for one in self._settings.clawdet_locations if one != without)
        server_type = self._settings.clawdet_server_type
        for location in self._clouds.locations_in_stock(server_type, wanted):
            stack.write_plain({"location": location})
            try:
                return operation.run(_up(refresh))
            except NoCapacity:
                operation.notes.append(f"{location} ran out of stock")
        raise NoCapacity(
            f"no location had a server: {', '.join(operation.notes)}",
            f"try again later (`python -m stacks up {stack.name}`), "
            "or add locations to CLAWDET_LOCATIONS",
        )

    def _in_place(self, operation: Operation, refresh: bool) -> Recorder:
        """Run `up` where there is a server. The provider switches one off to resize it, and
        leaves it off: so see first that the new type is to be had, and switch it on again."""
        server = recovery.find_resource(operation.stack.deployment(), SERVER_TYPE) or {}
        have, wanted = (
            (server.get("outputs") or {}).get("serverType"),
            operation.stack.plain_value("serverType"),
        )
        resize = have != wanted
        if resize:
            self._clouds.locations_in_stock(wanted, (operation.stack.plain_value("location"),))
        try:
            recorder = operation.run(_up(refresh))
        except StackError:
            if resize:
                self._servers.power_on(server["id"])
            raise
        return recorder

    def _after(self, operation: Operation, recorder: Recorder) -> None:
        """Keep the server's id, which the guard expects from now on; switch a resized one on."""
        made = server_id(operation.stack)
        if not made:
            return
        operation.stack.write_plain({"serverId": made, REBUILDING: ""})
        resized = any(
            change.type == SERVER_TYPE and any(p.path == "serverType" for p in change.properties)
            for change in recorder.changes
        )
        left_off = operation.lock.previous and operation.lock.previous.operation in LEAVING_OFF
        if (resized or left_off) and self._servers.power_on(made):
            operation.notes.append("switched the server on again")


def server_id(stack: ProjectStack) -> str:
    """The server's id as the state has it, "" if it has none."""
    server = recovery.find_resource(stack.deployment(), SERVER_TYPE)
    return str(server["id"]) if server else ""


def outputs(stack: ProjectStack) -> dict[str, Any]:
    """The stack's outputs as last applied; {} before the first `up`."""
    found = recovery.find_resource(stack.deployment(), STACK_TYPE)
    return dict((found or {}).get("outputs") or {})


def preview(refresh: bool) -> EngineCall:
    """The engine's preview of an `up`."""
    return lambda stack, on_event: stack.preview(on_event=on_event, refresh=refresh, color="never")


def _up(refresh: bool = False, replace: list[str] | None = None) -> EngineCall:
    return lambda stack, on_event: stack.up(
        on_event=on_event, refresh=refresh, replace=replace, color="never"
    )


def _asks_for_something(plan: Recorder, known: dict[str, Any]) -> bool:
    """Whether a preview would change any resource or output."""
    return plan.counts.keys() != {"same"} or plan.outputs != known
