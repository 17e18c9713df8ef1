"""`cloudflare:index/dnsRecord:DnsRecord`."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sandbox.plugins.errors import PluginError
from sandbox.plugins.resource import Known, Live, Operation, Resource
from sandbox.plugins.schema import Failure, Field, camel, snake
from sandbox.plugins.values import UNKNOWN, Props

if TYPE_CHECKING:
    from sandbox.plugins.cloudflare.api import CloudflareApi

TYPES = (
    "A AAAA CAA CERT CNAME DNSKEY DS HTTPS LOC MX NAPTR NS OPENPGPKEY PTR SMIMEA SRV SSHFP SVCB"
    " TLSA TXT URI"
)
SETTINGS = {
    "flattenCname": Field("boolean"),
    "ipv4Only": Field("boolean"),
    "ipv6Only": Field("boolean"),
}
UNSUPPORTED = (
    "the stand-in plugin does not serve this property; install the official cloudflare plugin"
)


class DnsRecord(Resource["CloudflareApi"]):
    """A record of a zone. Only another zone asks for a new one."""

    token = "cloudflare:index/dnsRecord:DnsRecord"
    fields = {
        "comment": Field("string"),
        "content": Field("string"),
        "data": Field("map"),
        "includeShadowMetadata": Field("boolean", unsupported=UNSUPPORTED),
        "name": Field("string", required=True),
        "priority": Field("number"),
        "privateRouting": Field("boolean", unsupported=UNSUPPORTED),
        "proxied": Field("boolean", default=False),
        "settings": Field("object", computed=True, fields=SETTINGS),
        "tags": Field("list", items="string", computed=True, unordered=True),
        "ttl": Field("number", required=True),
        "type": Field("string", required=True, choices=tuple(TYPES.split())),
        "zoneId": Field("string", required=True, replace=True),
    }
    computed = ("createdOn", "id", "meta", "modifiedOn", "proxiable")
    volatile = ("modifiedOn",)

    def check_more(self, inputs: Props) -> list[Failure]:
        """The official provider's ranges."""
        failures = []
        priority, ttl = inputs.get("priority"), inputs["ttl"]
        if isinstance(priority, int | float) and not 0 <= priority <= 65535:
            reason = f"priority value must be between 0 and 65535, got: {priority}"
            failures.append(Failure("priority", reason))
        if ttl is not UNKNOWN and ttl != 1 and not 30 <= ttl <= 86400:
            reason = f"ttl must be 1 (automatic) or between 30 and 86400, got: {ttl}"
            failures.append(Failure("ttl", reason))
        return failures

    def comparable(self, name: str, have: Any, wanted: Any) -> tuple[Any, Any]:
        """The cloud completes a name within its zone, and writes it in lower case."""
        if name == "name" and isinstance(have, str) and isinstance(wanted, str):
            lower = wanted.lower()
            return (wanted if have == lower or have.startswith(f"{lower}.") else have), wanted
        return have, wanted

    def create(self, operation: Operation["CloudflareApi"], inputs: Props) -> Live:
        """POST it."""
        result = operation.backend.send(
            operation, "POST", f"/zones/{inputs['zoneId']}/dns_records", _body(inputs)
        )
        return _live(result, inputs["zoneId"])

    def read(self, operation: Operation["CloudflareApi"], known: Known) -> Live | None:
        """GET it; on an import the id is ZONE_ID/RECORD_ID."""
        zone_id, record_id = known.state.get("zoneId"), known.resource_id
        if not zone_id:
            zone_id, _, record_id = known.resource_id.partition("/")
            if not record_id:
                raise PluginError(
                    f'invalid ID: expected "<zone_id>/<dns_record_id>", got "{known.resource_id}"'
                )
        result = operation.backend.find(operation, f"/zones/{zone_id}/dns_records/{record_id}")
        return _live(result, zone_id) if result else None

    def update(self, operation: Operation["CloudflareApi"], known: Known, inputs: Props) -> Props:
        """PUT it whole, with what the cloud chose and the program leaves out."""
        chosen = {name: known.state.get(name) for name in ("settings", "tags")}
        wanted = {name: value for name, value in chosen.items() if value is not None} | inputs
        path = f"/zones/{inputs['zoneId']}/dns_records/{known.resource_id}"
        result = operation.backend.send(operation, "PUT", path, _body(wanted))
        return _live(result, inputs["zoneId"]).outputs

    def delete(self, operation: Operation["CloudflareApi"], known: Known) -> None:
        """DELETE it."""
        path = f"/zones/{known.state['zoneId']}/dns_records/{known.resource_id}"
        operation.backend.delete(operation, path)


def _body(inputs: Props) -> dict[str, Any]:
    """The record as the API takes it, members in alphabetical order."""
    given = {"proxied": False} | {
        name: value for name, value in inputs.items() if name in DnsRecord.fields
    }
    del given["zoneId"]
    return {snake(name): _renamed(given[name], snake) for name in sorted(given)}


def _live(record: Mapping[str, Any], zone_id: str) -> Live:
    always = {
        "meta": json.dumps(record.get("meta") or {}, separators=(",", ":")),
        "proxied": bool(record.get("proxied")),
        "settings": _renamed(record.get("settings") or {}, camel),
        "tags": record.get("tags") or [],
        "zoneId": zone_id,
    }
    plain = (
        "comment comment_modified_on content created_on id modified_on name priority proxiable"
        " tags_modified_on ttl type"
    )
    told = {camel(name): record[name] for name in plain.split() if record.get(name) is not None}
    if record.get("data"):
        told["data"] = _renamed(record["data"], camel)
    return Live(str(record["id"]), always | told)


def _renamed(value: Any, rename: Any) -> Any:
    if isinstance(value, Mapping):
        return {rename(name): _renamed(item, rename) for name, item in value.items()}
    return value
