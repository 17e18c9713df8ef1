"""One Clawdet on this machine, as a context: sandbox if needed, web, worker."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from local import webhooks
from local.environment import environment, keep, web_settings
from local.processes import Child, await_web
from sandbox import running
from sandbox.keeping import SandboxError
from sandbox.processes import listen
from sandbox.supervisor import Sandbox

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Local:
    """What runs: its address, its environment, its processes, the sandbox if there is one."""

    url: str
    environment: dict[str, str]
    children: tuple[Child, ...]
    sandbox: Sandbox | None

    def watch(self, tell: Tell) -> None:
        """Revive what ends; returns never. NotReady if one keeps ending."""
        while True:
            for child in self.children:
                if child.revive():
                    tell(f"{child.name} ended by itself; started again (log: {child.log})")
            time.sleep(0.5)


@contextmanager
def serve(
    directory: Path,
    port: int,
    tell: Tell,
    *,
    sandboxed: bool,
    machines: str = "auto",
) -> Iterator[Local]:
    """Everything, until the end of the block. `port` 0: a free one.

    `sandboxed`: with a sandbox, whatever the shell has set, and stacks of its own in `directory`;
    else with the shell's credentials, and the stacks of this checkout. Raises SandboxError,
    PortInUseError, NotReady.
    """
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as cleanup:
        with listen(port, "--port") as probe:
            port = probe.getsockname()[1]
        sandbox = None
        if sandboxed:
            tell("starting the sandbox: pretend companies on this machine")
            if running.find(directory / "sandbox"):
                raise SandboxError(f"{directory} is in use: Clawdet runs there already.")
            sandbox = cleanup.enter_context(Sandbox.start(directory / "sandbox", machines=machines))
        given = environment(directory, port, sandbox)
        keep(directory, given)
        web = _child("web", ["-m", "webapp", "--bind", f"127.0.0.1:{port}"], given, directory)
        worker = _child("worker", ["-m", "webapp.worker"], given, directory)
        for child in (web, worker):
            cleanup.callback(child.end)
        tell("starting web and worker")
        web.start()
        await_web(web, port)
        worker.start()
        if sandbox:
            webhooks.register(web_settings(given), port)
        yield Local(given["CLAWDET_WEB_URL"], given, (web, worker), sandbox)


def _child(name: str, arguments: list[str], given: dict[str, str], directory: Path) -> Child:
    return Child(name, arguments, given, directory / f"{name}.log")
