"""`hcloud:index/firewall:Firewall`."""

import ipaddress
from typing import TYPE_CHECKING, Any

from sandbox.plugins.errors import PluginError
from sandbox.plugins.hcloud.labels import labels_of
from sandbox.plugins.resource import Known, Live, Operation, Resource
from sandbox.plugins.schema import Failure, Field
from sandbox.plugins.values import UNKNOWN, Props

if TYPE_CHECKING:
    from sandbox.plugins.hcloud.api import Hetzner

RULE = {
    "description": Field("string"),
    "destinationIps": Field("list", items="string"),
    "direction": Field("string", required=True, choices=("in", "out")),
    "port": Field("string"),
    "protocol": Field("string", required=True, choices=("tcp", "udp", "icmp", "esp", "gre")),
    "sourceIps": Field("list", items="string"),
}
APPLY_TO = {"labelSelector": Field("string"), "server": Field("number")}

DELETE_TRIES = 10
DELETE_GAP_S = 1.0


class Firewall(Resource["Hetzner"]):
    """A firewall and its rules."""

    token = "hcloud:index/firewall:Firewall"
    fields = {
        "applyTos": Field("list", fields=APPLY_TO, computed=True, unordered=True),
        "labels": Field("map", items="string", computed=True),
        "name": Field("string", required=True),
        "rules": Field("list", fields=RULE, unordered=True),
    }
    named = True
    records_defaults = True

    def check_more(self, inputs: Props) -> list[Failure]:
        """Addresses must be networks in CIDR notation."""
        rules = inputs.get("rules")
        failures = []
        for at, rule in enumerate(rules if isinstance(rules, list) else []):
            for name in ("sourceIps", "destinationIps"):
                for address in _known_list(rule, name):
                    if address is not UNKNOWN and _network(address) is None:
                        path = f"rules[{at}].{name}"
                        failures.append(Failure(path, f"invalid CIDR address: {address}"))
        return failures

    def comparable(self, name: str, have: Any, wanted: Any) -> tuple[Any, Any]:
        """Rules and targets with every member, networks in their usual form."""
        shape = {"rules": _rule_of, "applyTos": _target_of}.get(name)
        if shape is None or not isinstance(wanted, list):
            return have, wanted
        return [shape(item) for item in have or []], [shape(item) for item in wanted]

    def expected(self, inputs: Props) -> Props:
        """Rules as the cloud will show them."""
        outputs = super().expected(inputs)
        if isinstance(outputs.get("rules"), list):
            outputs["rules"] = [_rule_of(rule) for rule in outputs["rules"]]
        return outputs

    def create(self, operation: Operation["Hetzner"], inputs: Props) -> Live:
        """POST it, wait, and read it."""
        optional = {
            "labels": labels_of(inputs.get("labels")),
            "rules": [_rule_body(rule) for rule in inputs.get("rules", [])],
            "apply_to": [_target_body(target) for target in inputs.get("applyTos", [])],
        }
        body = {"name": inputs["name"]} | {key: item for key, item in optional.items() if item}
        answer = operation.backend.send(operation, "POST", "/firewalls", body)
        operation.backend.wait_for(operation, answer)
        return self._found(operation, str(answer["firewall"]["id"]))

    def read(self, operation: Operation["Hetzner"], known: Known) -> Live | None:
        """GET it."""
        found = operation.backend.find(operation, f"/firewalls/{known.resource_id}", "firewall")
        return _live(found) if found else None

    def update(self, operation: Operation["Hetzner"], known: Known, inputs: Props) -> Props:
        """Change what differs: name, rules, labels, targets."""
        cloud, path = operation.backend, f"/firewalls/{known.resource_id}"
        self._found(operation, known.resource_id)
        changed = {
            name
            for name, spec in self.fields.items()
            if self.diff_field(name, spec, known.state, inputs)
        }
        if "name" in changed:
            cloud.send(operation, "PUT", path, {"name": inputs["name"]})
        if "rules" in changed:
            rules = [_rule_body(rule) for rule in inputs.get("rules") or []]
            cloud.act(operation, f"{path}/actions/set_rules", {"rules": rules})
        if "labels" in changed:
            cloud.send(operation, "PUT", path, {"labels": labels_of(inputs.get("labels"))})
        if "applyTos" in changed:
            self._change_targets(operation, path, inputs, known.state)
        return self._found(operation, known.resource_id).outputs

    def delete(self, operation: Operation["Hetzner"], known: Known) -> None:
        """Take it off everything, then DELETE it."""
        cloud, path = operation.backend, f"/firewalls/{known.resource_id}"
        found = cloud.find(operation, path, "firewall")
        if found is None:
            return
        if found.get("applied_to"):
            with cloud.gone_is_done():
                body = {"remove_from": [_plain_target(one) for one in found["applied_to"]]}
                cloud.act(operation, f"{path}/actions/remove_from_resources", body)
        self._delete_when_free(operation, path)

    def _delete_when_free(self, operation: Operation["Hetzner"], path: str) -> None:
        """Servers may let go of a firewall a little after the answer."""
        from sandbox.plugins.hcloud.api import CloudError

        for left in reversed(range(DELETE_TRIES)):
            try:
                operation.backend.delete(operation, path)
            except CloudError as error:
                if error.code != "resource_in_use" or not left:
                    raise
                operation.wait(DELETE_GAP_S)
            else:
                return

    def _change_targets(
        self, operation: Operation["Hetzner"], path: str, inputs: Props, state: Props
    ) -> None:
        old = [_target_body(target) for target in state.get("applyTos") or []]
        new = [_target_body(target) for target in inputs.get("applyTos") or []]
        removed = [target for target in old if target not in new]
        added = [target for target in new if target not in old]
        if removed:
            with operation.backend.gone_is_done():
                verb = f"{path}/actions/remove_from_resources"
                operation.backend.act(operation, verb, {"remove_from": removed})
        if added:
            verb = f"{path}/actions/apply_to_resources"
            operation.backend.act(operation, verb, {"apply_to": added})

    def _found(self, operation: Operation["Hetzner"], firewall_id: str) -> Live:
        live = self.read(operation, Known(firewall_id))
        if live is None:
            raise PluginError(f"firewall {firewall_id} is gone: run a refresh")
        return live


def _known_list(rule: Any, name: str) -> list[Any]:
    found = rule.get(name) if isinstance(rule, dict) else None
    return found if isinstance(found, list) else []


def _network(address: Any) -> str | None:
    if "/" not in str(address):
        return None
    try:
        return str(ipaddress.ip_network(str(address), strict=False))
    except ValueError:
        return None


def _networks(value: Any) -> Any:
    if value is UNKNOWN:
        return value
    return sorted(_network(item) or item for item in value or [])


def _rule_of(rule: Any) -> Any:
    """A rule with every member, as the state keeps it."""
    if not isinstance(rule, dict):
        return rule
    return {
        "description": rule.get("description") or "",
        "destinationIps": _networks(rule.get("destinationIps")),
        "direction": rule.get("direction"),
        "port": rule.get("port") if rule.get("port") is UNKNOWN else str(rule.get("port") or ""),
        "protocol": rule.get("protocol"),
        "sourceIps": _networks(rule.get("sourceIps")),
    }


def _rule_body(rule: Props) -> dict[str, Any]:
    """A rule as the API takes it; without what was not given."""
    shaped = _rule_of(rule)
    body = {
        "direction": shaped["direction"],
        "source_ips": shaped["sourceIps"],
        "destination_ips": shaped["destinationIps"],
        "protocol": shaped["protocol"],
        "port": shaped["port"],
        "description": shaped["description"],
    }
    return {key: value for key, value in body.items() if value}


def _target_of(target: Any) -> Any:
    if not isinstance(target, dict):
        return target
    return {
        "labelSelector": target.get("labelSelector") or "",
        "server": target.get("server") or 0,
    }


def _target_body(target: Props) -> dict[str, Any]:
    if target.get("labelSelector"):
        selector = {"selector": target["labelSelector"]}
        return {"type": "label_selector", "label_selector": selector}
    return {"type": "server", "server": {"id": target["server"]}}


def _plain_target(applied: dict[str, Any]) -> dict[str, Any]:
    """A target of an answer without what only answers have."""
    kind = applied["type"]
    return {"type": kind, kind: applied[kind]}


def _live(firewall: dict[str, Any]) -> Live:
    targets = []
    for applied in firewall.get("applied_to") or []:
        if applied["type"] == "server":
            targets.append({"labelSelector": "", "server": applied["server"]["id"]})
        else:
            selector = applied["label_selector"]["selector"]
            targets.append({"labelSelector": selector, "server": 0})
    outputs = {
        "applyTos": targets,
        "id": str(firewall["id"]),
        "labels": firewall.get("labels") or {},
        "name": firewall["name"],
        "rules": [_rule_from(rule) for rule in firewall.get("rules") or []],
    }
    return Live(str(firewall["id"]), outputs)


def _rule_from(rule: dict[str, Any]) -> Any:
    return _rule_of(
        {
            "description": rule.get("description"),
            "destinationIps": rule.get("destination_ips"),
            "direction": rule["direction"],
            "port": rule.get("port"),
            "protocol": rule["protocol"],
            "sourceIps": rule.get("source_ips"),
        }
    )
