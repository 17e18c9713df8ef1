"""The operations on an instance's stack: the only code that runs the Pulumi engine."""

import json
from collections.abc import Callable
from typing import Any

from stacks import engine as engines
from stacks import guard, recovery, release, spec
from stacks.clouds import Clouds
from stacks.engine import Engine
from stacks.errors import Busy, NoCapacity, OperationFailed, StackError, UsageError
from stacks.events import RECORD_TYPE, SERVER_TYPE, STACK_TYPE, Recorder
from stacks.fetching import cache_dir
from stacks.locks import Holder
from stacks.project import EngineStack, ProjectStack
from stacks.running import OnProgress, Operation, Operations, Result
from stacks.settings import CHECKOUT, Settings

__all__ = ["OnProgress", "Result", "Stacks"]


class Stacks:
    """Every operation, for any number of stacks at once from any number of threads.

    One operation per stack at a time (`wait_s`: how long another one is waited for, else Busy);
    across stacks as many as `settings.clawdet_max_operations`, over all processes of the project.
    `debug_providers`: provider servers to share (stacks.provider_servers), "" to let each engine
    start its own.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine | None = None,
        debug_providers: str = "",
        wait_s: float = 0.0,
    ) -> None:
        settings.passphrase()  # missing? then say so before anything is begun
        if not (settings.clawdet_project / "Pulumi.yaml").is_file():
            raise UsageError(
                f"{settings.clawdet_project} is no Clawdet project: it has no Pulumi.yaml",
                "set CLAWDET_PROJECT to a checkout of Clawdet, or leave it unset",
            )
        self.settings = settings
        self._operations = Operations(
            settings,
            engine or _installed_engine(),
            debug_providers or settings.pulumi_debug_providers,
            wait_s,
        )
        self._clouds = Clouds(settings)

    # -- configuration ---------------------------------------------------------------------

    def init(self, slug: str, install: bool = True) -> None:
        """Make a stack with keys, tokens and configuration of its own. Creates nothing yet."""
        spec.check_slug(slug)
        config = spec.new_config(self.settings, slug, self._archive() if install else None)
        with self._operations.begin(slug, "init") as operation:
            operation.stack.create()
            operation.stack.write_config(config)

    def configure(self, slug: str, install: bool = True) -> None:
        """Renew credentials, endpoints and release from today's settings; keys are kept."""
        with self._operations.begin(slug, "configure") as operation:
            old = operation.stack.read_config()
            archive = self._archive() if install else None
            operation.stack.write_config(spec.renewed_config(self.settings, old, archive))

    def names(self) -> list[str]:
        """Every stack that has a settings file, sorted."""
        files = (self.settings.state_dir / "stacks").glob("Pulumi.*.yaml")
        return sorted(f.name.removeprefix("Pulumi.").removesuffix(".yaml") for f in files)

    def secrets(self, slug: str) -> spec.Secrets:
        """The instance's secrets in the clear, for those who must show or use them."""
        return self._stack(slug).read_config().secrets

    # -- reading ---------------------------------------------------------------------------

    def preview(
        self, slug: str, refresh: bool = False, on_progress: OnProgress = lambda _: None
    ) -> Result:
        """What `up` would do; writes nothing."""
        with self._operations.begin(slug, "preview", on_progress) as operation:
            return operation.result(operation.run(_preview(refresh)))

    def drift(self, slug: str, on_progress: OnProgress = lambda _: None) -> Result:
        """How the clouds differ from the state, property by property; writes nothing."""
        with self._operations.begin(slug, "drift", on_progress) as operation:
            return operation.result(
                operation.run(
                    lambda stack, on_event: stack.preview_refresh(
                        on_event=on_event, run_program=True, color="never"
                    ),
                )
            )

    def outputs(self, slug: str) -> dict[str, Any]:
        """The stack's outputs as last applied; {} before the first `up`."""
        found = recovery.find_resource(self._stack(slug).deployment(), STACK_TYPE)
        return dict((found or {}).get("outputs") or {})

    def history(self, slug: str) -> list[dict[str, Any]]:
        """Past updates, newest first, as the engine keeps them."""
        return list(json.loads(self._stack(slug).run("stack", "history", "--json").stdout))

    def export(self, slug: str) -> dict[str, Any]:
        """The state as a document that `import_` takes; secrets stay encrypted."""
        return self._stack(slug).export()

    def holder(self, slug: str) -> Holder | None:
        """Who runs an operation on the stack now."""
        return self._operations.holder(slug)

    # -- changing --------------------------------------------------------------------------

    def up(
        self,
        slug: str,
        refresh: bool = False,
        approve_server_change: bool = False,
        on_progress: OnProgress = lambda _: None,
    ) -> Result:
        """Make the world as the program says. `refresh`: look at the clouds first (repair).

        Raises NeedsApproval, before anything is written, when a server that should be running
        would be replaced, deleted or made anew, unless `approve_server_change`.
        """
        with self._operations.begin(slug, "up", on_progress) as operation:
            self._recover(operation)
            if recovery.find_resource(operation.stack.deployment(), RECORD_TYPE) is None:
                self._clouds.check_name_is_free(slug)
            expected = operation.stack.plain_value("serverId") or _server_id(operation)
            plan = None
            if expected and not approve_server_change:
                plan = operation.run(_preview(refresh), quiet=True)
                guard.check(slug, expected, plan)
            if refresh or not plan or _asks_for_something(plan, self.outputs(slug)):
                plan = self._up_where_there_is_stock(operation, refresh)
            self._after_up(operation, plan)
            return operation.result(plan)

    def refresh(self, slug: str, on_progress: OnProgress = lambda _: None) -> Result:
        """Write into the state what the clouds have."""
        with self._operations.begin(slug, "refresh", on_progress) as operation:
            self._recover(operation)
            return operation.result(
                operation.run(
                    lambda stack, on_event: stack.refresh(
                        on_event=on_event, run_program=True, color="never"
                    ),
                )
            )

    def destroy(self, slug: str, on_progress: OnProgress = lambda _: None) -> Result:
        """Remove everything the stack made; returns when the clouds say that it is gone."""
        with self._operations.begin(slug, "destroy", on_progress) as operation:
            self._recover(operation)
            recorder = Recorder()
            # With nothing to destroy, running the program would only register its providers.
            if operation.stack.deployment().get("resources"):
                recorder = operation.run(
                    lambda stack, on_event: stack.destroy(
                        on_event=on_event, run_program=True, color="never"
                    ),
                )
            left = self._clouds.leftovers(slug)
            if left:
                names = ", ".join(f"{item.kind} {item.id}" for item in left)
                raise OperationFailed(
                    f"destroyed, yet the clouds still have {names}",
                    f"run `python -m stacks destroy {slug}` again",
                )
            operation.stack.write_plain({"serverId": ""})
            return operation.result(recorder)

    def remove(self, slug: str) -> None:
        """Forget a destroyed stack: state, history, settings file."""
        with self._operations.begin(slug, "remove") as operation:
            operation.stack.remove()

    def import_(self, slug: str, document: dict[str, Any]) -> None:
        """Replace the state by an exported one."""
        with self._operations.begin(slug, "import") as operation:
            operation.stack.import_(document)

    def cancel(self, slug: str) -> str:
        """Interrupt the stack's operation, wait for its end, and leave a clean stack.

        Returns what was done, in words. Raises Busy if the operation runs on another host.
        """
        holder = self.holder(slug)
        if holder is not None:
            self._operations.stop(slug, holder)
        try:
            self._clean_up(slug)
        except Busy:
            if holder is None or self.holder(slug) is None:
                raise
            return f"cancelled: {holder}; the next operation runs already"
        return f"cancelled: {holder}" if holder else "nothing was running; the stack is clean"

    # -- how -------------------------------------------------------------------------------

    def _recover(self, operation: Operation) -> None:
        unclean = operation.lock.previous is not None
        if recovery.needs_recovery(operation.stack.deployment(), unclean):
            operation.notes += recovery.recover(operation.stack, self._clouds)

    def _clean_up(self, slug: str) -> None:
        """Lift what a dead operation left: the backend's lock, pending operations, orphans."""
        with self._operations.begin(slug, "cancel") as operation:
            # The state as it is, written again: it takes the backend's lock, which lifts a dead
            # engine's and is refused by a living one's.
            operation.stack.import_(operation.stack.export())
            operation.notes += recovery.recover(operation.stack, self._clouds)

    def _up_where_there_is_stock(self, operation: Operation, refresh: bool) -> Recorder:
        """Run `up`; a server that must be made is made in the first location that has one."""
        stack = operation.stack
        if _server_id(operation):
            try:
                return self._up_in_place(operation, refresh)
            except NoCapacity:
                if _server_id(operation):  # it still stands: nothing moves it elsewhere
                    raise
                operation.notes.append(f"{stack.plain_value('location')} ran out of stock")
        wanted = self.settings.clawdet_locations
        server_type = self.settings.clawdet_server_type
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

    def _up_in_place(self, operation: Operation, refresh: bool) -> Recorder:
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
                self._clouds.power_on(server["id"])
            raise
        return recorder

    def _after_up(self, operation: Operation, recorder: Recorder) -> None:
        server_id = _server_id(operation)
        if not server_id:
            return
        operation.stack.write_plain({"serverId": server_id})
        resized = any(
            change.type == SERVER_TYPE and any(p.path == "serverType" for p in change.properties)
            for change in recorder.changes
        )
        # One that died after it had resized the server left it off, too.
        if (resized or operation.lock.previous) and self._clouds.power_on(server_id):
            operation.notes.append("switched the server on again")

    def _stack(self, slug: str) -> ProjectStack:
        return self._operations.stack(slug)

    def _archive(self) -> release.InstallArchive:
        return release.pack_install(
            CHECKOUT / "cloud-init" / "install", self.settings.state_dir / "artifacts"
        )


def _preview(refresh: bool) -> Callable[[EngineStack, Callable[[Any], None]], object]:
    return lambda stack, on_event: stack.preview(on_event=on_event, refresh=refresh, color="never")


def _up(refresh: bool) -> Callable[[EngineStack, Callable[[Any], None]], object]:
    return lambda stack, on_event: stack.up(on_event=on_event, refresh=refresh, color="never")


def _asks_for_something(plan: Recorder, outputs: dict[str, Any]) -> bool:
    """Whether a preview would change any resource or output."""
    return plan.counts.keys() != {"same"} or plan.outputs != outputs


def _server_id(operation: Operation) -> str:
    """The server's id as the state has it, "" if it has none."""
    server = recovery.find_resource(operation.stack.deployment(), SERVER_TYPE)
    return str(server["id"]) if server else ""


def _installed_engine() -> Engine:
    found = engines.find(cache_dir())
    if found is None:
        raise StackError("there is no Pulumi engine on this machine", "run `make setup`")
    return found
