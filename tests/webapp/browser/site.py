"""Clawdet as it runs: web and worker in processes of their own, and the companies they talk to."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from local import webhooks
from local.environment import OPERATOR, web_settings
from local.processes import Child, await_web
from sandbox.processes import listen
from sandbox.supervisor import Sandbox
from stacks.project import make_project
from tests.stacks.conftest import PASSPHRASE
from tests.stacks.outside import until
from tests.stacks.workplace import KEPT

PATIENCE_S = 120.0


@dataclass(frozen=True)
class Site:
    """`url`: where browsers find it. `companies`: for looking at them and breaking them."""

    url: str
    port: int
    sandbox: Sandbox
    web: Child
    worker: Child
    companies: requests.Session

    def kill_web(self) -> None:
        """kill -9 the web process and all it has started."""
        assert self.web.process
        os.killpg(self.web.process.pid, signal.SIGKILL)
        self.web.process.wait()

    def start_web(self) -> None:
        """Start it again, and return when it answers."""
        self.web.start()
        await_web(self.web, self.port)

    def letter(self, address: str, of: str) -> str:
        """The first link with `of` in it that was mailed to an address, once it is there."""

        def look() -> str:
            asked = f"{self.sandbox.running.mail_url}api/letters"
            answer = self.companies.get(asked, params={"to": address}, timeout=60)
            links = [link for letter in answer.json()["letters"] for link in letter["links"]]
            return next((link for link in links if of in link), "")

        return until(look, f"a letter to {address}", PATIENCE_S)

    def break_(self, vendor: str, path: str, **rule: Any) -> None:
        """Make requests to a company fail, by the rules of docs/sandbox.md."""
        body = {"vendor": vendor, "path": path, "times": 1000, "status": 500} | rule
        answer = self.companies.post(f"{self.sandbox.admin_url}/faults", json=body, timeout=60)
        assert answer.status_code == 201, answer.text

    def mend(self) -> None:
        """No faults, no slowness."""
        self.companies.delete(f"{self.sandbox.admin_url}/faults", timeout=60)
        self.slow_down(0)

    def slow_down(self, seconds: float) -> None:
        """Let every action at Hetzner take at least so long."""
        asked = f"{self.sandbox.admin_url}/hetzner/action-seconds"
        answer = self.companies.put(asked, json={"seconds": seconds}, timeout=60)
        assert answer.ok, answer.text


@contextmanager
def serve(
    directory: Path, sandbox: Sandbox, keys: dict[str, str], pulumi_home: Path
) -> Iterator[Site]:
    """Web and worker, until the end of the block."""
    project = directory / "project"
    make_project(project)
    with listen(0, "") as probe:
        port = probe.getsockname()[1]
    given = sandbox.environment() | {name.upper(): value for name, value in keys.items()}
    given |= {
        "CLAWDET_DATABASE_URL": f"sqlite:///{directory / 'clawdet.sqlite3'}",
        "CLAWDET_WEB_URL": f"http://localhost:{port}",
        "CLAWDET_OPERATORS": OPERATOR,
        "CLAWDET_SIGN_IN_LIMIT": "1000 per minute",
        "CLAWDET_TRIAL_LIMIT": "1000 per minute",
        "CLAWDET_TRIAL_MESSAGES_PER_IP_A_DAY": "1000",
        "CLAWDET_PROJECT": str(project),
        "CLAWDET_MAX_OPERATIONS": "4",
        "PULUMI_HOME": str(pulumi_home),
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        "PYTHONUNBUFFERED": "1",
        "LC_ALL": "C.UTF-8",
    }
    environment = given | {name: os.environ[name] for name in KEPT if name in os.environ}
    bind = ["-m", "webapp", "--bind", f"127.0.0.1:{port}"]
    web = Child("web", bind, environment, directory / "web.log")
    module = ["-m", "tests.webapp.browser.worker"]
    worker = Child("worker", module, environment, directory / "worker.log")
    with ExitStack() as cleanup:
        companies = cleanup.enter_context(requests.Session())
        for child in (web, worker):
            cleanup.callback(child.end)
        web.start()
        await_web(web, port)  # it migrates the database that the worker then finds
        worker.start()
        webhooks.register(web_settings(given), port)
        yield Site(f"http://localhost:{port}", port, sandbox, web, worker, companies)
