"""A zone's DNS records: routes and storage."""

import secrets
from typing import NoReturn

from flask import Blueprint, Response, request

from sandbox.clouds.cloudflare import record_filters, record_rules
from sandbox.clouds.cloudflare.envelope import json_object, page_of, refuse, success
from sandbox.clouds.cloudflare.zones import now
from sandbox.clouds.store import Document
from sandbox.clouds.world import World

KIND = "cloudflare.dns_record"
RECORDS_PER_PAGE = 100
ADDRESSES = ("A", "AAAA")


def register(api: Blueprint, world: World) -> None:
    """Add the routes under `/zones/ZONE/dns_records`."""
    records = Records(world)
    listing = "/zones/<string(length=32):zone_id>/dns_records"
    one = f"{listing}/<string(length=32):record_id>"

    @api.get(listing)
    def list_records(zone_id: str) -> Response:
        records.require_zone(zone_id)
        found = record_filters.select(records.all(), request.args)
        return page_of(found, per_page=RECORDS_PER_PAGE)

    @api.post(listing)
    def create_record(zone_id: str) -> Response:
        records.require_zone(zone_id)
        return success(records.create(_body()))

    @api.get(one)
    def get_record(zone_id: str, record_id: str) -> Response:
        records.require_zone(zone_id)
        return success(records.get(record_id))

    @api.put(one)
    def replace_record(zone_id: str, record_id: str) -> Response:
        records.require_zone(zone_id)
        return success(records.change(record_id, _body(), keep=False))

    @api.patch(one)
    def edit_record(zone_id: str, record_id: str) -> Response:
        records.require_zone(zone_id)
        return success(records.change(record_id, _body(), keep=True))

    @api.delete(one)
    def delete_record(zone_id: str, record_id: str) -> Response:
        records.require_zone(zone_id)
        return success({"id": records.delete(record_id)})


def _body() -> Document:
    return json_object(9207, "Failed to parse request body, content-type must be application/json")


class Records:
    """The zone's records. Checks and writes are one transaction: no two requests can conflict."""

    def __init__(self, world: World) -> None:
        self._store = world.store
        self._zone_id = world.credentials.cloudflare_zone_id
        self._zone = world.domain

    def require_zone(self, zone_id: str) -> None:
        """Only our zone can be reached with our token."""
        if zone_id != self._zone_id:
            raise refuse(403, 10000, "Authentication error")

    def all(self) -> list[Document]:
        """Every record, oldest first."""
        return self._store.all(KIND)

    def get(self, record_id: str) -> Document:
        """One record; 404 (81044) when there is none."""
        return self._store.get(KIND, record_id) or _missing()

    def create(self, fields: Document) -> Document:
        """Add a record of the client's `fields`."""
        written = record_rules.normalise(fields, self._zone)
        with self._store.transaction():
            self._refuse_conflicts(written, None)
            stamp = now()
            record = {"id": secrets.token_hex(16), **written}
            record |= {"meta": {}, "created_on": stamp, "modified_on": stamp}
            _stamp_notes(record, {}, stamp)
            self._store.put(KIND, record["id"], record)
        return record

    def change(self, record_id: str, fields: Document, *, keep: bool) -> Document:
        """Replace a record's fields; with `keep`, those that aren't given stay as they are."""
        with self._store.transaction():
            before = self.get(record_id)
            given = {name: before.get(name) for name in record_rules.FIELDS} if keep else {}
            written = record_rules.normalise({**given, **fields}, self._zone)
            self._refuse_conflicts(written, record_id)
            record = {"id": record_id, **written, "meta": before["meta"]}
            record |= {"created_on": before["created_on"], "modified_on": now()}
            _stamp_notes(record, before, record["modified_on"])
            self._store.put(KIND, record_id, record)
        return record

    def delete(self, record_id: str) -> str:
        """Remove a record; its id."""
        if not self._store.delete(KIND, record_id):
            _missing()
        return record_id

    def _refuse_conflicts(self, new: Document, record_id: str | None) -> None:
        """The vendor's rules for records of one name: no twins, and a CNAME stands alone."""
        others = [r for r in self.all() if r["name"] == new["name"] and r["id"] != record_id]
        if any((o["type"], o["content"]) == (new["type"], new["content"]) for o in others):
            raise refuse(400, 81058, "An identical record already exists.")
        types = {other["type"] for other in others}
        if new["type"] == "CNAME" and types & {*ADDRESSES, "CNAME"}:
            raise refuse(400, 81053, "An A, AAAA, or CNAME record with that host already exists.")
        if new["type"] in ADDRESSES and "CNAME" in types:
            raise refuse(400, 81054, "A CNAME record with that host already exists.")


def _missing() -> NoReturn:
    raise refuse(404, 81044, "Record does not exist.")


def _stamp_notes(record: Document, before: Document, stamp: str) -> None:
    """When comment and tags last changed; left out where there are none."""
    for name in ("comment", "tags"):
        field = f"{name}_modified_on"
        if record[name] and record[name] == before.get(name):
            record[field] = before[field]
        elif record[name]:
            record[field] = stamp
