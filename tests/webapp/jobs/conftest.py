"""Instances of people who have paid, as rows, and the clouds as an outsider sees them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from sandbox.supervisor import Sandbox
from stacks.settings import CHECKOUT
from tests.stacks.outside import Outside
from tests.stacks.workplace import KEPT
from tests.webapp.working import Work
from webapp import clock
from webapp.accounts.models import User
from webapp.app import build
from webapp.http import logs
from webapp.http.context import Clawdet
from webapp.instances import service
from webapp.instances.models import ActionKind, Instance
from webapp.settings import WebSettings

Order = Callable[..., str]
Want = Callable[..., None]
Ask = Callable[..., None]
Look = Callable[[str], Instance]


@pytest.fixture
def c(settings: WebSettings) -> Iterator[Clawdet]:
    """What a worker is given."""
    logs.configure()
    found = build(settings)
    yield found
    found.jobs.close()
    found.db.close()


@pytest.fixture
def clouds(sandbox: Sandbox, outside: requests.Session) -> Iterator[Outside]:
    """Both clouds, empty and whole."""
    clouds = Outside(sandbox)
    clouds.reset()
    yield clouds
    clouds.reset()
    clouds.cloudflare.close()


@pytest.fixture
def order(c: Clawdet, clouds: Outside) -> Order:
    """A person who has paid and so has an instance, by the same door as a webhook; its id."""

    def order(slug: str = "alice") -> str:
        with c.db.begin() as session:
            user = User(
                x_id=slug, x_username=slug, x_name=slug.title(), slug=slug,
                email=f"{slug}@example.com",
            )  # fmt: skip
            session.add(user)
            session.flush()
            found = service.create(session, c.jobs, user, "stripe", "the first invoice was paid")
            return found.id

    return order


@pytest.fixture
def look(c: Clawdet) -> Look:
    """The instance's row as it is now."""

    def look(instance_id: str) -> Instance:
        with c.db.read() as session:
            found = session.get_one(Instance, instance_id)
            session.expunge(found)
            return found

    return look


@dataclass
class Victims:
    """Workers in processes of their own."""

    environment: dict[str, str]
    started: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def start(self, name: str, *moment: str) -> "subprocess.Popen[str]":
        """A worker of that name; `moment`: where it dies (tests.webapp.jobs.victim)."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.webapp.jobs.victim", name, *moment],
            cwd=CHECKOUT,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process


@pytest.fixture
def victims(
    settings: WebSettings, stack_settings: dict[str, str], keys: dict[str, str]
) -> Iterator[Victims]:
    """Workers that the test may kill; at the end none runs."""
    given = stack_settings | {name.upper(): value for name, value in keys.items()}
    given["CLAWDET_DATABASE_URL"] = settings.clawdet_database_url
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    victims = Victims(kept | {"LC_ALL": "C.UTF-8"} | given)
    yield victims
    for process in victims.started:
        process.kill()
        process.communicate()


@pytest.fixture
def want(c: Clawdet) -> Want:
    """Say what should be of an instance."""

    def want(instance_id: str, **wish: Any) -> None:
        with c.db.begin() as session:
            instance = session.get_one(Instance, instance_id)
            service.want(session, c.jobs, instance, actor="test", why="the test", **wish)

    return want


@pytest.fixture
def ask(c: Clawdet) -> Ask:
    """Ask for something to be done once."""

    def ask(instance_id: str, kind: ActionKind, approved: bool = False) -> None:
        with c.db.begin() as session:
            instance = session.get_one(Instance, instance_id)
            service.ask(session, c.jobs, instance, kind, actor="test", approved=approved)

    return ask


@pytest.fixture
def sweep(c: Clawdet, work: Work) -> Work:
    """Have a sweep done now, and whatever it wakes."""

    def sweep(job: str = "sweep_instances", stacks: bool = True) -> None:
        with c.db.begin() as session:
            c.jobs.enqueue(session, job, key=f"{job}-{clock.now().timestamp()}")
        work(stacks=stacks)

    return sweep
