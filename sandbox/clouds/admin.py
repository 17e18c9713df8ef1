"""The sandbox's own API: faults, slow actions, stock, and a look inside. JSON, no token.

It is for the operator of the sandbox on the same machine: requests from other addresses get 403.

    POST   /admin/faults                    add a rule (`sandbox.clouds.faults.Rule`): 201, the rule
    GET    /admin/faults                    rules that are not used up: {"faults": […]}
    DELETE /admin/faults                    forget all rules; /admin/faults/ID forgets one
    GET    /admin/requests?since=N          requests with a number above N: {"requests": […]}, each
                                            {number, time, vendor, method, path, query, body,
                                            status (null: nothing was answered), fault}
    GET    /admin/state/KIND                every document of a kind: {"documents": […]}
    GET, PUT /admin/hetzner/action-seconds  {"seconds": S}: actions show as running at least S
    GET, PUT /admin/hetzner/stock           {"server_type", "location", "available"}; GET lists what
                                            is sold out: {"sold_out": […]}
    GET, PUT /admin/hetzner/rate-limit      {"per_hour": N}

Wrong input is answered with 400 and {"error": what is wrong}.
"""

import ipaddress
from collections.abc import Callable
from typing import Annotated, TypeVar

from flask import Blueprint, Response, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.exceptions import BadRequest, HTTPException, NotFound

from sandbox.clouds import faults
from sandbox.clouds.faults import ADMIN, LOG, RULE, RequestLog, Rule
from sandbox.clouds.hetzner.cloud import Cloud
from sandbox.clouds.world import World


class Setting(BaseModel):
    """A body of the admin API."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ActionSeconds(Setting):
    """How long actions show as running at least."""

    seconds: Annotated[float, Field(ge=0, le=3600, strict=False)]


class Stock(Setting):
    """Whether a server type can be had in a location."""

    server_type: str
    location: str
    available: bool


class RateLimit(Setting):
    """Requests per hour."""

    per_hour: Annotated[int, Field(ge=1)]


M = TypeVar("M", bound=BaseModel)


def blueprint(world: World) -> Blueprint:
    """The admin API, to be mounted under `/admin`."""
    admin = Blueprint(ADMIN, __name__)
    admin.before_request(_refuse_strangers)
    admin.register_error_handler(HTTPException, _explain)
    _add_faults(admin, world)
    _add_inspection(admin, world)
    _add_hetzner(admin, Cloud(world))
    return admin


def _add_faults(admin: Blueprint, world: World) -> None:
    @admin.post("/faults")
    def add() -> ResponseReturnValue:
        rule = _body(Rule)
        companies = sorted(current_app.blueprints.keys() - {ADMIN})
        if rule.vendor not in companies:
            raise BadRequest(f"vendor: unknown; there are {', '.join(companies)}")
        id_ = world.store.next_id(RULE, first=1)
        document = {"id": id_, **rule.model_dump()}
        world.store.put(RULE, id_, document)
        return jsonify(document), 201

    @admin.get("/faults")
    def rules() -> Response:
        return jsonify({"faults": world.store.all(RULE)})

    @admin.delete("/faults")
    def clear() -> ResponseReturnValue:
        for rule in world.store.all(RULE):
            world.store.delete(RULE, rule["id"])
        return "", 204

    @admin.delete("/faults/<int:id_>")
    def forget(id_: int) -> ResponseReturnValue:
        if not world.store.delete(RULE, id_):
            raise NotFound(f"there is no rule {id_}")
        return "", 204


def _add_inspection(admin: Blueprint, world: World) -> None:
    @admin.get("/requests")
    def requests() -> Response:
        since = request.args.get("since", "0")
        if not since.isdecimal():
            raise BadRequest("since: must be a number")
        log: RequestLog = current_app.extensions[LOG]
        return jsonify({"requests": log.since(int(since))})

    @admin.get("/state/<kind>")
    def state(kind: str) -> Response:
        documents = [faults.shortened(document) for document in world.store.all(kind)]
        return jsonify({"documents": documents})


def _add_hetzner(admin: Blueprint, cloud: Cloud) -> None:
    def set_seconds() -> None:
        cloud.set_action_seconds(_body(ActionSeconds).seconds)

    def set_limit() -> None:
        cloud.set_requests_per_hour(_body(RateLimit).per_hour)

    def set_stock() -> None:
        stock = _body(Stock)
        try:
            cloud.set_stock(stock.server_type, stock.location, stock.available)
        except ValueError as error:
            raise BadRequest(str(error)) from error

    def sold_out() -> list[dict[str, str]]:
        pairs = sorted(cloud.sold_out())
        return [{"server_type": type_, "location": location} for type_, location in pairs]

    _setting(admin, "action-seconds", lambda: {"seconds": cloud.action_seconds()}, set_seconds)
    _setting(admin, "rate-limit", lambda: {"per_hour": cloud.requests_per_hour()}, set_limit)
    _setting(admin, "stock", lambda: {"sold_out": sold_out()}, set_stock)


def _setting(
    admin: Blueprint, name: str, read: Callable[[], object], write: Callable[[], None]
) -> None:
    def view() -> Response:
        if request.method == "PUT":
            write()
        return jsonify(read())

    admin.add_url_rule(f"/hetzner/{name}", name, view, methods=["GET", "PUT"])


def _refuse_strangers() -> ResponseReturnValue | None:
    if not ipaddress.ip_address(request.remote_addr or "0.0.0.0").is_loopback:
        return jsonify({"error": "the admin API is for this machine only"}), 403
    return None


def _explain(error: HTTPException) -> ResponseReturnValue:
    return jsonify({"error": error.description}), error.code or 500


def _body(model: type[M]) -> M:
    data = request.get_json(force=True, silent=True)
    if not isinstance(data, dict):
        raise BadRequest("a JSON object is expected")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = (
            f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise BadRequest("; ".join(problems)) from error
