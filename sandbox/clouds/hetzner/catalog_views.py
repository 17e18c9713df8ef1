"""What one can only read: locations, datacenters, server types, prices, ISOs."""

from flask import Response, jsonify

from sandbox.clouds.hetzner import catalog
from sandbox.clouds.hetzner.cloud import Cloud
from sandbox.clouds.hetzner.errors import not_found
from sandbox.clouds.hetzner.listing import answer_list, narrowed
from sandbox.clouds.hetzner.routes import Routes
from sandbox.clouds.store import Document

SORTABLE = ("id", "name")


class CatalogViews:
    """The endpoints of the catalog."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> Routes:
        """The endpoints."""
        return [
            ("GET", "/locations", self.locations),
            ("GET", "/locations/<int:id_>", self.location),
            ("GET", "/datacenters", self.datacenters),
            ("GET", "/datacenters/<int:id_>", self.datacenter),
            ("GET", "/server_types", self.server_types),
            ("GET", "/server_types/<int:id_>", self.server_type),
            ("GET", "/pricing", self.pricing),
            ("GET", "/isos", self.isos),
            ("GET", "/isos/<int:id_>", self.iso),
        ]

    def locations(self) -> Response:
        """Locations, by name."""
        found = narrowed(catalog.LOCATIONS, "name", labels=False)
        return answer_list("locations", found, SORTABLE)

    def location(self, id_: int) -> Response:
        """One location."""
        return jsonify({"location": _by_id(catalog.LOCATIONS, id_, "location")})

    def datacenters(self) -> Response:
        """Datacenters with what each sells and has (the vendor announced their end for
        2026-10-01; clients of before still ask)."""
        found = narrowed(datacenters(self._cloud), "name", labels=False)
        response = answer_list("datacenters", found, SORTABLE)
        document = response.get_json()
        response.set_data(jsonify({**document, "recommendation": 4}).get_data())
        return response

    def datacenter(self, id_: int) -> Response:
        """One datacenter."""
        found = _by_id(datacenters(self._cloud), id_, "datacenter")
        return jsonify({"datacenter": found})

    def server_types(self) -> Response:
        """Server types, by name, with prices and stock per location."""
        found = narrowed(self._cloud.server_types(), "name", labels=False)
        return answer_list("server_types", found, SORTABLE)

    def server_type(self, id_: int) -> Response:
        """One server type."""
        found = _by_id(self._cloud.server_types(), id_, "server type")
        return jsonify({"server_type": found})

    def pricing(self) -> Response:
        """The price list."""
        return jsonify({"pricing": catalog.pricing()})

    def isos(self) -> Response:
        """None: nothing here boots from an ISO."""
        return answer_list("isos", [])

    def iso(self, id_: int) -> Response:
        """None."""
        raise not_found("iso", id_)


def datacenter(cloud: Cloud, location: str) -> Document:
    """The datacenter of a location."""
    row = next(row for row in catalog.DATACENTERS if row[2] == location)
    return _datacenter(row, cloud.sold_out())


def datacenters(cloud: Cloud) -> list[Document]:
    """Every datacenter with the ids of the server types it sells and has."""
    sold_out = cloud.sold_out()
    return [_datacenter(row, sold_out) for row in catalog.DATACENTERS]


def _datacenter(row: tuple[int, str, str], sold_out: set[tuple[str, str]]) -> Document:
    id_, name, location = row
    sold = [t for t in catalog.SERVER_TYPES if location in catalog.SOLD_IN[t["name"]]]
    available = [t["id"] for t in sold if (t["name"], location) not in sold_out]
    place = catalog.location(location)
    return {
        "id": id_,
        "name": name,
        "description": f"{place['city']} {name.rpartition('-')[2].upper()}",
        "location": place,
        "server_types": {
            "supported": [t["id"] for t in sold],
            "available": available,
            "available_for_migration": available,
        },
    }


def _by_id(documents: list[Document], id_: int, what: str) -> Document:
    for document in documents:
        if document["id"] == id_:
            return document
    raise not_found(what, id_)
