"""A PostgreSQL server of the tests' own: in a temporary folder, on a free port, not as root."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def programs() -> Path | None:
    """The folder of initdb and pg_ctl: on PATH, or where Debian keeps the newest."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return versions[-1].parent if versions else None


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A running server; its URL, without a database name. Stopped at the end."""
    found = programs()
    assert found, "PostgreSQL is missing: run `make setup`, or install the package postgresql"
    data, user = folder / "data", _not_root()
    folder.mkdir(exist_ok=True)
    if user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    as_user = ["setpriv", f"--reuid={user}", "--clear-groups", "--"] if user else []

    def run(*words: str) -> None:
        subprocess.run(
            [*as_user, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=120
        )

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    run(f"{found}/initdb", "-D", str(data), "-U", "clawdet", "-A", "trust", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    log = str(folder / "log")
    run(f"{found}/pg_ctl", "-D", str(data), "-l", log, "-o", options, "-w", "start")
    try:
        yield f"postgresql://clawdet@127.0.0.1:{port}"
    finally:
        run(f"{found}/pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")


def _not_root() -> str:
    """Whom to run as: "" for ourselves, unless we are root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return ""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
