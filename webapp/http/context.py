"""What views need of the application: its settings, database, jobs and clients."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from flask import current_app

from webapp.adapters.payments import Payments
from webapp.adapters.x import XClient
from webapp.database import Database
from webapp.jobs import Jobs
from webapp.settings import WebSettings

if TYPE_CHECKING:
    from webapp.adapters.model import Model

EXTENSION = "clawdet"


@dataclass(frozen=True)
class Clawdet:
    """Built once per process, by `webapp.app.build`; jobs are given it as well."""

    settings: WebSettings
    db: Database
    jobs: Jobs
    x: XClient
    payments: Payments

    @cached_property
    def model(self) -> "Model":
        """Made when the first visitor chats: its SDK takes 50 MB, and the worker never needs it."""
        from webapp.adapters.model import Model

        return Model(self.settings)


def here() -> Clawdet:
    """The running application's."""
    found: Clawdet = current_app.extensions[EXTENSION]
    return found
