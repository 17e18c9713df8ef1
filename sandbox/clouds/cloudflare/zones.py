"""The one zone and its settings."""

from datetime import UTC, datetime

from flask import Blueprint, Response, request

from sandbox.clouds.cloudflare.envelope import json_object, page_of, refuse, success
from sandbox.clouds.store import Document
from sandbox.clouds.world import World

SSL_MODES = ("off", "flexible", "full", "strict")
SETTINGS = "cloudflare.zone_setting"
ZONES_PER_PAGE = 20


def register(api: Blueprint, world: World) -> None:
    """Add the routes under `/zones`."""

    @api.get("/zones")
    def list_zones() -> Response:
        name = request.args.get("name", world.domain).lower()
        status = request.args.get("status", "active")
        found = [_zone(world)] if (name, status) == (world.domain, "active") else []
        return page_of(found, per_page=ZONES_PER_PAGE)

    @api.get("/zones/<string(length=32):zone_id>")
    def get_zone(zone_id: str) -> Response:
        _require(world, zone_id)
        return success(_zone(world))

    @api.get("/zones/<string(length=32):zone_id>/settings/<name>")
    def get_setting(zone_id: str, name: str) -> Response:
        _require(world, zone_id)
        return success(_setting(world, name))

    @api.patch("/zones/<string(length=32):zone_id>/settings/<name>")
    def edit_setting(zone_id: str, name: str) -> Response:
        _require(world, zone_id)
        setting = _setting(world, name)
        value = json_object(9207, "Request body is invalid.").get("value")
        if value not in SSL_MODES:
            raise refuse(400, 1007, f"Invalid value for zone setting {name}")
        setting |= {"value": value, "modified_on": now()}
        world.store.put(SETTINGS, name, setting)
        return success(setting)


def now() -> str:
    """This moment as the API writes times."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _require(world: World, zone_id: str) -> None:
    if zone_id != world.credentials.cloudflare_zone_id:
        raise refuse(403, 9109, "Unauthorized to access requested resource")


def _setting(world: World, name: str) -> Document:
    if name != "ssl":
        raise refuse(400, 1006, f"Unrecognized zone setting name: {name}")
    default = {"id": "ssl", "value": "strict", "editable": True, "modified_on": None}
    return world.store.get(SETTINGS, name) or default


def _zone(world: World) -> Document:
    made = "2026-01-01T00:00:00.000000Z"
    account = {"id": "0123456789abcdef0123456789abcdef", "name": "Clawdet sandbox"}
    return {
        "id": world.credentials.cloudflare_zone_id,
        "name": world.domain,
        "status": "active",
        "paused": False,
        "type": "full",
        "development_mode": 0,
        "name_servers": ["ada.ns.cloudflare.test", "bob.ns.cloudflare.test"],
        "original_name_servers": None,
        "original_registrar": None,
        "original_dnshost": None,
        "created_on": made,
        "modified_on": made,
        "activated_on": made,
        "meta": {"step": 2, "page_rule_quota": 20, "phishing_detected": False},
        "owner": {"id": None, "type": "user", "email": None},
        "account": account,
        "permissions": ["#dns_records:edit", "#dns_records:read", "#zone:read", "#ssl:edit"],
        "plan": {"id": "pro", "name": "Pro Website", "price": 20, "currency": "USD"},
    }
