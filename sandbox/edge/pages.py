"""The page a visitor sees when the edge has no answer from the origin."""

import html
from pathlib import Path
from string import Template

from aiohttp import web

from sandbox.edge.faults import Fault
from sandbox.edge.headers import edge_headers

PAGE = Template(Path(__file__).with_name("fault.html").read_text(encoding="utf-8"))


def page(fault: Fault, *, name: str, ray: str) -> web.Response:
    """The fault as HTML, under its HTTP status. `name`: the host that was asked for."""
    body = PAGE.substitute(
        code=fault.code,
        title=html.escape(fault.title),
        cause=html.escape(fault.cause),
        remedy=html.escape(fault.remedy),
        name=html.escape(name),
        ray=ray,
        edge="cut" if fault.broken == "edge" else "ok",
        origin="cut" if fault.broken == "origin" else "ok",
    )
    return web.Response(
        status=fault.status,
        reason=fault.title,
        text=body,
        content_type="text/html",
        headers={**edge_headers(ray), "Cache-Control": "no-store"},
    )
