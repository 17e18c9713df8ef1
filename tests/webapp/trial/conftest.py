from collections.abc import Callable
from typing import Any

import pytest
import requests

from sandbox.supervisor import Sandbox
from webapp.settings import WebSettings

MODEL = "claude-sonnet-4-6"

Fault = Callable[..., None]


@pytest.fixture
def settings(settings: WebSettings) -> WebSettings:
    """A model that both the SDK and the sandbox know as one that is served."""
    return settings.model_copy(update={"clawdet_trial_model": MODEL})


@pytest.fixture
def fault(sandbox: Sandbox, outside: requests.Session) -> Fault:
    """Something goes wrong at the model's, for every request until the test ends."""

    def add(**rule: Any) -> None:
        body = {"vendor": "anthropic", "times": 100, **rule}
        outside.post(f"{sandbox.admin_url}/faults", json=body, timeout=60).raise_for_status()

    return add
