"""Screenshots of an instance's page, by a headless Chromium with a profile of its own."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from demo.steps import Unfulfilled

WIDTH, HEIGHT = 1100, 720
TIMEOUT_S = 60.0


def photograph(url: str, folder: Path) -> None:
    """Save `url` as instance-light.png and instance-dark.png in `folder`."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise Unfulfilled("screenshots need chromium: apt-get install chromium")
    folder.mkdir(parents=True, exist_ok=True)
    for theme, options in (("light", []), ("dark", ["--blink-settings=preferredColorScheme=0"])):
        with tempfile.TemporaryDirectory(prefix="clawdet-chromium-") as profile:
            subprocess.run(
                [
                    *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                    *("--disable-background-networking", "--disable-component-update"),
                    *("--disable-sync", "--hide-scrollbars", f"--user-data-dir={profile}"),
                    *(f"--window-size={WIDTH},{HEIGHT}", *options),
                    f"--screenshot={folder.resolve() / f'instance-{theme}.png'}",
                    url,
                ],
                check=True,
                capture_output=True,
                timeout=TIMEOUT_S,
            )
