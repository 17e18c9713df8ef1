"""`python -m webapp`: serve the application with gunicorn, after migrating its database."""

import argparse
import subprocess
import sys
from typing import Any

from gunicorn.app.base import BaseApplication

# Threads are made as they are needed; each open progress stream holds one.
THREADS = 600


class Server(BaseApplication):  # type: ignore[misc]
    """Gunicorn with our options. The application is made, and imported, in the worker process
    only: the one that watches it stays small."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        """For gunicorn."""
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """For gunicorn."""
        from webapp.app import create_app
        from webapp.http import logs

        logs.configure()
        return create_app()


def main() -> int:
    """Serve until SIGTERM; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m webapp", description=__doc__)
    parser.add_argument("--bind", default="127.0.0.1:8000", help="host:port (127.0.0.1:8000)")
    arguments = parser.parse_args()
    migrated = subprocess.run([sys.executable, "-m", "webapp.migrate"], check=False)
    if migrated.returncode:
        return migrated.returncode
    Server(
        {
            "bind": arguments.bind,
            "workers": 1,
            "threads": THREADS,
            "worker_class": "gthread",
            "keepalive": 20,
            "graceful_timeout": 5,
            "timeout": 120,
            "control_socket_disable": True,
        }
    ).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
