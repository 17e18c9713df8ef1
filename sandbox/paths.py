"""Where the sandbox keeps what is slow to make."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """Clawdet's cache, outside any work tree (XDG base directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "clawdet"
