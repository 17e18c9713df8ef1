"""Firewalls and what they are applied to. Kept and shown as the vendor does; the machines behind
the servers do not enforce them."""

from collections.abc import Iterable

from flask import Response, jsonify
from flask.typing import ResponseReturnValue

from sandbox.clouds.hetzner.actions import Actions
from sandbox.clouds.hetzner.cloud import FIREWALL, SERVER, Cloud, now, public
from sandbox.clouds.hetzner.errors import ApiError, uniqueness_error
from sandbox.clouds.hetzner.firewall_bodies import (
    Apply,
    NewFirewall,
    Remove,
    Resource,
    Rules,
)
from sandbox.clouds.hetzner.inputs import Rename, read_body
from sandbox.clouds.hetzner.labels import selector
from sandbox.clouds.hetzner.listing import answer_list, narrowed
from sandbox.clouds.hetzner.routes import Routes
from sandbox.clouds.store import Document


class Firewalls:
    """All verbs of /firewalls and their actions."""

    def __init__(self, cloud: Cloud, actions: Actions) -> None:
        self._cloud = cloud
        self._actions = actions

    def routes(self) -> Routes:
        """The endpoints."""
        one = "/firewalls/<int:id_>"
        return [
            ("GET", "/firewalls", self.list_all),
            ("POST", "/firewalls", self.create),
            ("GET", one, self.get),
            ("PUT", one, self.update),
            ("DELETE", one, self.delete),
            ("POST", f"{one}/actions/set_rules", self.set_rules),
            ("POST", f"{one}/actions/apply_to_resources", self.apply),
            ("POST", f"{one}/actions/remove_from_resources", self.remove),
        ]

    def list_all(self) -> Response:
        """Firewalls, by name or labels."""
        found = narrowed(self._cloud.store.all(FIREWALL), "name")
        return answer_list("firewalls", self._views(found))

    def get(self, id_: int) -> Response:
        """One firewall."""
        return self._answer(self._cloud.must_get(FIREWALL, id_))

    def create(self) -> ResponseReturnValue:
        """Add a firewall, with rules and resources from the start."""
        body = read_body(NewFirewall)
        with self._cloud.store.transaction():
            self._check_name(body.name, 0)
            firewall: Document = {
                "id": self._cloud.new_id(),
                "name": body.name,
                "labels": body.labels or {},
                "created": now(),
                "rules": [rule.model_dump() for rule in body.rules or ()],
                "_apply_to": [],
            }
            self._add_resources(firewall, body.apply_to or ())
            self._cloud.store.put(FIREWALL, firewall["id"], firewall)
        actions = [self._action("set_firewall_rules", firewall)]
        actions += self._resource_actions("apply_firewall", firewall, body.apply_to or ())
        return jsonify({"firewall": self._views([firewall])[0], "actions": actions}), 201

    def update(self, id_: int) -> Response:
        """Change name or labels."""
        body = read_body(Rename)
        with self._cloud.store.transaction():
            firewall = self._cloud.must_get(FIREWALL, id_)
            firewall |= body.model_dump(exclude_none=True)
            self._check_name(firewall["name"], id_)
            self._cloud.store.put(FIREWALL, id_, firewall)
        return self._answer(firewall)

    def delete(self, id_: int) -> ResponseReturnValue:
        """Remove a firewall that nothing uses."""
        with self._cloud.store.transaction():
            firewall = self._cloud.must_get(FIREWALL, id_)
            if firewall["_apply_to"]:
                message = f"firewall with ID '{id_}' is still in use"
                raise ApiError(409, "resource_in_use", message)
            self._cloud.store.delete(FIREWALL, id_)
        return "", 204

    def set_rules(self, id_: int) -> ResponseReturnValue:
        """Replace all rules."""
        body = read_body(Rules)
        with self._cloud.store.transaction():
            firewall = self._cloud.must_get(FIREWALL, id_)
            firewall["rules"] = [rule.model_dump() for rule in body.rules]
            self._cloud.store.put(FIREWALL, id_, firewall)
        return jsonify({"actions": [self._action("set_firewall_rules", firewall)]}), 201

    def apply(self, id_: int) -> ResponseReturnValue:
        """Apply to servers or to whatever a label selector matches."""
        body = read_body(Apply)
        with self._cloud.store.transaction():
            firewall = self._cloud.must_get(FIREWALL, id_)
            self._add_resources(firewall, body.apply_to)
            self._cloud.store.put(FIREWALL, id_, firewall)
        actions = self._resource_actions("apply_firewall", firewall, body.apply_to)
        return jsonify({"actions": actions}), 201

    def remove(self, id_: int) -> ResponseReturnValue:
        """Take it off resources; no error where it was not applied (changelog 2025-08-04)."""
        body = read_body(Remove)
        with self._cloud.store.transaction():
            firewall = self._cloud.must_get(FIREWALL, id_)
            for resource in body.remove_from:
                self._take_off(firewall, resource)
            self._cloud.store.put(FIREWALL, id_, firewall)
        actions = self._resource_actions("remove_firewall", firewall, body.remove_from)
        return jsonify({"actions": actions}), 201

    def _add_resources(self, firewall: Document, resources: Iterable[Resource]) -> None:
        for resource in resources:
            entry = resource.model_dump(exclude_none=True)
            if resource.server and not self._cloud.store.get(SERVER, resource.server.id):
                message = f"server with ID '{resource.server.id}' not found"
                raise ApiError(404, "firewall_resource_not_found", message)
            if entry in firewall["_apply_to"]:
                message = "firewall was already applied on resource"
                raise ApiError(409, "firewall_already_applied", message)
            firewall["_apply_to"].append(entry)

    def _take_off(self, firewall: Document, resource: Resource) -> None:
        entry = resource.model_dump(exclude_none=True)
        if entry in firewall["_apply_to"]:
            firewall["_apply_to"].remove(entry)
            return
        server = self._cloud.store.get(SERVER, resource.server.id) if resource.server else None
        if server and applies_to(firewall, server):
            message = "firewall is applied by a label selector and cannot be removed by hand"
            raise ApiError(422, "firewall_managed_by_label_selector", message)

    def _check_name(self, name: str, own_id: int) -> None:
        others = (f for f in self._cloud.store.all(FIREWALL) if f["id"] != own_id)
        if any(other["name"] == name for other in others):
            raise uniqueness_error("firewall name is already used", "name")

    def _action(self, command: str, firewall: Document, *more: tuple[str, int]) -> Document:
        action = self._actions.at_once(command, ("firewall", firewall["id"]), *more)
        return self._actions.view(action)

    def _resource_actions(
        self, command: str, firewall: Document, resources: Iterable[Resource]
    ) -> list[Document]:
        return [
            self._action(command, firewall, ("server", resource.server.id))
            if resource.server
            else self._action(command, firewall)
            for resource in resources
        ]

    def _answer(self, firewall: Document) -> Response:
        return jsonify({"firewall": self._views([firewall])[0]})

    def _views(self, firewalls: list[Document]) -> list[Document]:
        servers = self._cloud.store.all(SERVER)
        return [_view(firewall, servers) for firewall in firewalls]


def applies_to(firewall: Document, server: Document) -> bool:
    """Whether the firewall protects the server, by name or by label."""
    return any(_matches(entry, server) for entry in firewall["_apply_to"])


def forget_server(cloud: Cloud, server_id: int) -> None:
    """Take a deleted server off every firewall; call inside a transaction."""
    for firewall in cloud.store.all(FIREWALL):
        kept = [e for e in firewall["_apply_to"] if e.get("server", {}).get("id") != server_id]
        if kept != firewall["_apply_to"]:
            cloud.store.put(FIREWALL, firewall["id"], {**firewall, "_apply_to": kept})


def _matches(entry: Document, server: Document) -> bool:
    if entry["type"] == "server":
        return bool(entry["server"]["id"] == server["id"])
    return selector(entry["label_selector"]["selector"])(server["labels"])


def _view(firewall: Document, servers: list[Document]) -> Document:
    applied_to = []
    for entry in firewall["_apply_to"]:
        shown = dict(entry)
        if entry["type"] == "label_selector":
            shown["applied_to_resources"] = [
                {"type": "server", "server": {"id": server["id"]}}
                for server in servers
                if _matches(entry, server)
            ]
        applied_to.append(shown)
    return {**public(firewall), "applied_to": applied_to}
