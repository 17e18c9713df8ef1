"""Static files carry a mark of their content in their address, so that browsers may keep them."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask

MARK_LENGTH = 10


def install(app: Flask) -> None:
    """Every `url_for("static", …)` gets `v=`; templates know where help is to be had."""
    folder = Path(app.static_folder or "")

    @cache
    def mark(filename: str) -> str:
        path = folder / filename
        content = path.read_bytes() if path.is_file() else b""
        return hashlib.sha256(content).hexdigest()[:MARK_LENGTH]

    @app.url_defaults
    def add_mark(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static" and "filename" in values:
            values.setdefault("v", mark(values["filename"]))

    @app.context_processor
    def support() -> dict[str, str]:
        return {"support": app.extensions["clawdet"].settings.clawdet_support_email}
