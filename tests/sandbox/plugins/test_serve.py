"""Plugins as servers of their own: they end when asked to."""

import signal
import subprocess
import sys

from stacks.settings import CHECKOUT
from tests.signals import send_aside

ENDS_S = 120.0


def test_plugins_hear_a_signal_that_does_not_wake_them() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox.plugins", "serve", "all"],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline().startswith("hcloud:")
            send_aside(process.pid, signal.SIGTERM)
            assert process.wait(ENDS_S) == 0
        finally:
            process.kill()
