"""The fast drift sweep: servers and DNS records listed in bulk, compared with the stacks' states.

A few requests whatever the number of stacks, and no engine. What only a refresh can tell (every
property of every resource) is `Stacks.drift`'s business.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cloudflare.types.dns import RecordResponse
from hcloud.servers import BoundServer, Server

from stacks import recovery
from stacks.clouds import COMMENT, MANAGED, Clouds, comment_of, labels_of
from stacks.errors import UnknownStack
from stacks.events import RECORD_TYPE, SERVER_TYPE
from stacks.running import Operations

ADDRESS_TYPES = ("A", "AAAA", "CNAME")


@dataclass(frozen=True)
class Finding:
    """One difference. `resource`: server or record; an orphan's has its name after it.

    `property`: which of its properties. `expected`: by the state; `found`: in the cloud. Both as
    text, "" for nothing: a server that is missing has an `id` that is found to be "".
    """

    resource: str
    property: str
    expected: str
    found: str


@dataclass(frozen=True)
class Expected:
    """What a stack's state says; ids are "" for what it does not have. `busy`: it is changing."""

    slug: str
    server_id: str
    server: dict[str, Any]
    record_id: str
    busy: bool


@dataclass(frozen=True)
class Found:
    """What the clouds list."""

    servers: dict[str, BoundServer]
    records: dict[str, RecordResponse]
    domain: str

    @classmethod
    def look(cls, clouds: Clouds) -> "Found":
        """List everything now."""
        return cls(
            {str(server.id): server for server in clouds.all_servers()},
            {record.id: record for record in clouds.all_records()},
            clouds.domain,
        )


def sweep(
    operations: Operations, clouds: Clouds, known: list[str], slugs: Iterable[str] | None
) -> dict[str, list[Finding]]:
    """Findings by slug, and orphans under "". `known`: every stack there is; `slugs`: those to tell
    of, all if None. Raises UnknownStack for one that is asked for and isn't there."""
    wanted = known if slugs is None else [operations.stack(slug).name for slug in slugs]
    before = _states(operations, known)
    found = Found.look(clouds)
    # What is not as it was is changing: what was listed may be from before or after.
    after = _states(operations, known)
    settled = {
        slug: expected
        for slug, expected in before.items()
        if not expected.busy and after.get(slug) == expected
    }
    findings: dict[str, list[Finding]] = {
        slug: [*_server_findings(settled[slug], found), *_record_findings(settled[slug], found)]
        for slug in wanted
        if slug in settled
    }
    findings[""] = [*_orphans([*before.values(), *after.values()], settled, found)]
    return findings


def _states(operations: Operations, slugs: Iterable[str]) -> dict[str, Expected]:
    """What every stack's state says; nothing of one that has none, of an `init` that died say."""
    states = {}
    for slug in slugs:
        with contextlib.suppress(UnknownStack):
            states[slug] = _expected(operations, slug)
    return states


def _expected(operations: Operations, slug: str) -> Expected:
    stack = operations.stack(slug)
    deployment = stack.deployment()
    server = recovery.find_resource(deployment, SERVER_TYPE)
    record = recovery.find_resource(deployment, RECORD_TYPE)
    server_id = str(server["id"]) if server else ""
    if not server_id and deployment.get("resources"):
        # A refresh wrote that it is gone; we have not forgotten it (stacks.applying).
        server_id = str(stack.plain_value("serverId") or "")
    return Expected(
        slug,
        server_id,
        dict((server or {}).get("outputs") or {}),
        str(record["id"]) if record else "",
        busy=operations.holder(slug) is not None,
    )


def _server_findings(expected: Expected, found: Found) -> Iterator[Finding]:
    if not expected.server_id:
        return
    server = found.servers.get(expected.server_id)
    if server is None:
        yield Finding("server", "id", expected.server_id, "")
        return
    have = {
        "status": str(server.status),
        "serverType": str(server.server_type.name) if server.server_type else "",
        "location": str(server.location.name) if server.location else "",
        "ipv4Address": _address(server),
    }
    wanted = {"status": Server.STATUS_RUNNING, **expected.server}
    for name in have:
        yield from _difference("server", name, wanted.get(name), have[name])
    for key, value in labels_of(expected.slug).items():
        yield from _difference("server", f"labels.{key}", value, (server.labels or {}).get(key))


def _record_findings(expected: Expected, found: Found) -> Iterator[Finding]:
    if not expected.server:
        return
    hostname, address = f"{expected.slug}.{found.domain}", expected.server.get("ipv4Address")
    record = found.records.get(expected.record_id)
    yield from _difference("record", "name", hostname, record.name if record else "")
    if record:
        yield from _difference("record", "content", address, record.content)
        yield from _difference("record", "proxied", "true", str(bool(record.proxied)).lower())
        yield from _difference("record", "comment", comment_of(expected.slug), record.comment)
    for other in found.records.values():
        beside = other.name == hostname and other.type in ADDRESS_TYPES
        if beside and other is not record and not _owner(other):
            yield from _difference("record", "content", address, other.content)


def _orphans(states: list[Expected], settled: Iterable[str], found: Found) -> Iterator[Finding]:
    """What says that it is ours, and no state knows; unless its stack is changing."""
    changing = {expected.slug for expected in states} - {*settled}
    owned = {expected.server_id for expected in states}
    for id_, server in found.servers.items():
        labels = server.labels or {}
        ours = MANAGED.items() <= labels.items()
        if ours and id_ not in owned and labels.get("instance") not in changing:
            yield Finding(f"server {server.name}", "id", "", id_)
    owned = {expected.record_id for expected in states}
    for id_, record in found.records.items():
        owner = _owner(record)
        if owner and id_ not in owned and owner not in changing:
            yield Finding(f"record {record.name}", "id", "", id_)


def _owner(record: RecordResponse) -> str:
    """The instance that the record's comment names, "" if it names none."""
    comment = record.comment or ""
    return comment.removeprefix(COMMENT) if comment.startswith(COMMENT) else ""


def _address(server: BoundServer) -> str:
    network = server.public_net
    return str(network.ipv4.ip) if network and network.ipv4 else ""


def _difference(resource: str, name: str, expected: Any, found: Any) -> Iterator[Finding]:
    wanted, have = str(expected or ""), str(found or "")
    if wanted != have:
        yield Finding(resource, name, wanted, have)
