"""Provider plugins that run once and serve many operations.

Each engine would start its own: 0.3 to 1 s and up to 130 MB apiece. Attached to running ones by
PULUMI_DEBUG_PROVIDERS, eight operations at once take half the time (docs/performance.md).
"""

import contextlib
import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stacks.errors import StackError
from stacks.plugins import PluginState, installed

START_S = 30.0


@contextmanager
def provider_servers(home: Path) -> Iterator[str]:
    """Run one server per installed provider plugin; yields PULUMI_DEBUG_PROVIDERS' value.

    A plugin that is started without an engine's address prints the port that it serves. The
    servers end with the block, and with this process.
    """
    with ExitStack() as running:
        ports = [
            f"{plugin.name}:{running.enter_context(_serve(executable(home, plugin)))}"
            for plugin in installed(home)
        ]
        yield ",".join(ports)


def executable(home: Path, plugin: PluginState) -> Path:
    """Where the engine, and we, find a plugin's executable in `home` (PULUMI_HOME)."""
    return home / "plugins" / plugin.folder / f"pulumi-resource-{plugin.name}"


@contextmanager
def _serve(path: Path) -> Iterator[int]:
    setpriv = shutil.which("setpriv")
    prefix = [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
    process = subprocess.Popen(
        [*prefix, str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=dict(os.environ),
    )
    try:
        yield _port(process, path)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def _port(process: "subprocess.Popen[bytes]", path: Path) -> int:
    assert process.stdout is not None
    deadline = time.monotonic() + START_S
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = b""
        while not line.endswith(b"\n") and time.monotonic() < deadline:
            if selector.select(timeout=0.2):
                chunk = os.read(process.stdout.fileno(), 64)
                if not chunk:
                    break
                line += chunk
    if not line.strip().isdigit():
        raise StackError(
            f"{path.name} did not say its port", "run `make setup`; see `stacks doctor`"
        )
    return int(line)
