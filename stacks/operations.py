"""The operations on an instance's stack: the only code that runs the Pulumi engine."""

import json
from collections.abc import Iterable
from typing import Any

from stacks import applying, recovery, release, spec, sweep
from stacks import engine as engines
from stacks.clouds import Clouds
from stacks.engine import Engine
from stacks.errors import Busy, OperationFailed, StackError, UsageError
from stacks.events import Recorder
from stacks.fetching import cache_dir
from stacks.locks import Holder
from stacks.project import ProjectStack
from stacks.running import OnProgress, Operations, Result
from stacks.servers import SHUTDOWN_S, Servers
from stacks.settings import CHECKOUT, Settings
from stacks.sweep import Finding

__all__ = ["Finding", "OnProgress", "Result", "Stacks"]


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
        self._servers = Servers(settings)
        self._applying = applying.Applying(settings, self._clouds, self._servers)

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

    def rotate_token(self, slug: str) -> str:
        """Give the instance a new gateway token and return it; the server has it after `up`."""
        with self._operations.begin(slug, "rotate-token") as operation:
            config = spec.with_new_token(operation.stack.read_config())
            operation.stack.write_config(config)
            return config.secrets.gateway_token

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
            return operation.result(operation.run(applying.preview(refresh)))

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
        return applying.outputs(self._stack(slug))

    def history(self, slug: str) -> list[dict[str, Any]]:
        """Past updates, newest first, as the engine keeps them."""
        return list(json.loads(self._stack(slug).run("stack", "history", "--json").stdout))

    def export(self, slug: str) -> dict[str, Any]:
        """The state as a document that `import_` takes; secrets stay encrypted."""
        return self._stack(slug).export()

    def holder(self, slug: str) -> Holder | None:
        """Who runs an operation on the stack now."""
        return self._operations.holder(slug)

    def server_status(self, slug: str) -> str | None:
        """Hetzner's word on the server: running, off, starting, …; None if there is none."""
        return self._servers.status(slug, applying.server_id(self._stack(slug)))

    def capacity(self, locations: tuple[str, ...] | None = None) -> dict[str, bool]:
        """Whether each location (the settings' by default) has the server type in stock now."""
        wanted = locations or self.settings.clawdet_locations
        return self._clouds.stock(self.settings.clawdet_server_type, wanted)

    def sweep(self, slugs: Iterable[str] | None = None) -> dict[str, list[Finding]]:
        """What differs between the clouds and the stacks (all by default), looked up in bulk.

        By slug, [] if nothing does; under "" what carries our labels and belongs to no stack at
        all. No engine runs, nothing is locked: a stack that is changing meanwhile is left out.
        """
        return sweep.sweep(self._operations, self._clouds, self.names(), slugs)

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
            return operation.result(self._applying.up(operation, refresh, approve_server_change))

    def rebuild(self, slug: str, on_progress: OnProgress = lambda _: None) -> Result:
        """Make the server anew, from nothing; certificate, keys and tokens are kept, the record
        follows, the install runs again. Asking for it is the approval.

        In another location if its own has no stock; NoCapacity, and nothing is ended, if none has.
        After a failure half-way the next `up` mends it.
        """
        with self._operations.begin(slug, "rebuild", on_progress) as operation:
            return operation.result(self._applying.rebuild(operation))

    def refresh(self, slug: str, on_progress: OnProgress = lambda _: None) -> Result:
        """Write into the state what the clouds have."""
        with self._operations.begin(slug, "refresh", on_progress) as operation:
            self._applying.recover(operation)
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
            self._applying.recover(operation)
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
            operation.stack.write_plain({"serverId": "", applying.REBUILDING: ""})
            return operation.result(recorder)

    # -- the server that stands ------------------------------------------------------------

    def power(self, slug: str, on: bool, patience_s: float = SHUTDOWN_S) -> None:
        """Switch the server on or off and wait until it is. Off is an orderly shutdown; a guest
        that ignores it for `patience_s` is cut off. OperationFailed if no server has our labels."""
        with self._operations.begin(slug, "power", runs_engine=False) as operation:
            self._servers.power(slug, applying.server_id(operation.stack), on, patience_s)

    def restart(self, slug: str, patience_s: float = SHUTDOWN_S) -> None:
        """Shut the server down and switch it on again, or reset it if its guest has ignored that
        for `patience_s`. One that is off is switched on."""
        with self._operations.begin(slug, "restart", runs_engine=False) as operation:
            self._servers.restart(slug, applying.server_id(operation.stack), patience_s)

    def backup(self, slug: str) -> str:
        """Keep a final snapshot of the server's disk; the image's id, "" if there is no server.

        One per server: asked again, it returns the same. It stays when the stack is destroyed.
        """
        with self._operations.begin(slug, "backup", runs_engine=False) as operation:
            return self._servers.back_up(slug, applying.server_id(operation.stack))

    def delete_backup(self, image_id: str) -> None:
        """Delete a final backup for good; done if it is gone."""
        self._servers.delete_backup(image_id)

    # -- the stack's own files -------------------------------------------------------------

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

    def _clean_up(self, slug: str) -> None:
        """Lift what a dead operation left: the backend's lock, pending operations, orphans."""
        with self._operations.begin(slug, "cancel") as operation:
            # The state as it is, written again: it takes the backend's lock, which lifts a dead
            # engine's and is refused by a living one's.
            operation.stack.import_(operation.stack.export())
            operation.notes += recovery.recover(operation.stack, self._clouds)

    def _stack(self, slug: str) -> ProjectStack:
        return self._operations.stack(slug)

    def _archive(self) -> release.InstallArchive:
        return release.pack_install(
            CHECKOUT / "cloud-init" / "install", self.settings.state_dir / "artifacts"
        )


def _installed_engine() -> Engine:
    found = engines.find(cache_dir())
    if found is None:
        raise StackError("there is no Pulumi engine on this machine", "run `make setup`")
    return found
