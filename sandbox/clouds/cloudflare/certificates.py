"""Origin CA certificates: requested, listed, fetched and revoked.

Error codes: the vendor's list for this API.
"""

from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from flask import Blueprint, Response, request

from sandbox.clouds.cloudflare.envelope import json_object, page_of, refuse, success
from sandbox.clouds.cloudflare.origin_ca import OriginCa
from sandbox.clouds.cloudflare.record_rules import is_hostname
from sandbox.clouds.cloudflare.zones import now
from sandbox.clouds.store import Document
from sandbox.clouds.world import World

KIND = "cloudflare.certificate"
CERTIFICATES_PER_PAGE = 20
MAX_HOSTNAMES = 100
VALIDITY_DAYS = (7, 30, 90, 365, 730, 1095, 5475)
DEFAULT_DAYS = 5475
KEY_TYPES: dict[str, type[Any]] = {
    "origin-rsa": rsa.RSAPublicKey,
    "origin-ecc": ec.EllipticCurvePublicKey,
}


def register(api: Blueprint, world: World) -> None:
    """Add the routes under `/certificates`."""
    certificates = Certificates(world)

    @api.post("/certificates")
    def create_certificate() -> Response:
        return success(certificates.create(json_object(1004, "Failed to parse request JSON.")))

    @api.get("/certificates")
    def list_certificates() -> Response:
        zone_id = request.args.get("zone_id")
        if zone_id is None:
            message = "Please provide a zone id when requesting a stored certificate, "
            raise refuse(400, 1012, f"{message}or fetch by serial number.")
        if zone_id != world.credentials.cloudflare_zone_id:
            raise refuse(403, 10000, "Authentication error")
        return page_of(certificates.in_force(), per_page=CERTIFICATES_PER_PAGE)

    @api.get("/certificates/<certificate_id>")
    def get_certificate(certificate_id: str) -> Response:
        return success(certificates.get(certificate_id))

    @api.delete("/certificates/<certificate_id>")
    def revoke_certificate(certificate_id: str) -> Response:
        return success(certificates.revoke(certificate_id))


class Certificates:
    """What the Origin CA has signed, by serial number in decimal, as the vendor names them."""

    def __init__(self, world: World) -> None:
        self._store = world.store
        self._zone = world.domain
        self._ca = OriginCa(world.directory)
        self._publish_revoked()

    def create(self, fields: Document) -> Document:
        """Sign a certificate for the client's `csr`, `hostnames`, `request_type`, validity."""
        kind = fields.get("request_type")
        if not isinstance(kind, str) or kind not in KEY_TYPES:
            raise refuse(400, 1002, "Unsupported request_type.")
        days = fields.get("requested_validity") or DEFAULT_DAYS
        if days not in VALIDITY_DAYS:
            allowed = "7, 30, 90, 365, 730, 1095, and 5475 (default)"
            message = f"Permitted values for the requested_validity parameter are: {allowed}."
            raise refuse(400, 1009, message)
        csr = _parse_request(fields.get("csr"), kind)
        hostnames = self._hostnames(fields.get("hostnames"))
        signed = self._ca.sign(csr, hostnames, int(days))
        document = {
            "id": str(signed.serial_number),
            "certificate": signed.public_bytes(Encoding.PEM).decode(),
            "csr": fields["csr"],
            "hostnames": hostnames,
            "expires_on": f"{signed.not_valid_after_utc:%Y-%m-%d %H:%M:%S} +0000 UTC",
            "request_type": kind,
            "requested_validity": int(days),
        }
        self._store.put(KIND, document["id"], document)
        return document

    def in_force(self) -> list[Document]:
        """Every certificate that isn't revoked, oldest first."""
        return [kept for kept in self._store.all(KIND) if "revoked_at" not in kept]

    def get(self, certificate_id: str) -> Document:
        """One certificate (a revoked one has `revoked_at`); 404 (1101) when there is none."""
        found = self._store.get(KIND, certificate_id)
        if found is None:
            raise refuse(404, 1101, "Failed to read certificate from Database")
        return found

    def revoke(self, certificate_id: str) -> Document:
        """Revoke a certificate: from now on the edge refuses it."""
        with self._store.transaction():
            found = self.get(certificate_id)
            if "revoked_at" in found:
                raise refuse(400, 1014, "Certificate already revoked.")
            found["revoked_at"] = now()
            self._store.put(KIND, certificate_id, found)
            self._publish_revoked()
        return {"id": certificate_id, "revoked_at": found["revoked_at"]}

    def _publish_revoked(self) -> None:
        revoked = (kept for kept in self._store.all(KIND) if "revoked_at" in kept)
        self._ca.publish_revoked(int(kept["id"]) for kept in revoked)

    def _hostnames(self, value: Any) -> list[str]:
        if not isinstance(value, list) or not value:
            raise refuse(400, 1010, "Failed to validate requested hostnames: none given.")
        if len(value) > MAX_HOSTNAMES:
            message = f"you may only request up to {MAX_HOSTNAMES} per certificate."
            raise refuse(400, 1005, f"Too many hostnames requested - {message}")
        return list(dict.fromkeys(self._hostname(name) for name in value))

    def _hostname(self, value: Any) -> str:
        name = value.lower() if isinstance(value, str) else ""
        inside = name == self._zone or name.endswith(f".{self._zone}")
        if inside and is_hostname(name.removeprefix("*.")):
            return name
        reason = (
            "This zone is either not part of your account, or you do not have access to it."
            " Please contact support if using a multi-user organization."
        )
        raise refuse(400, 1010, f"Failed to validate requested hostname {value}: {reason}")


def _parse_request(value: Any, kind: str) -> x509.CertificateSigningRequest:
    if not isinstance(value, str) or not value.strip():
        raise refuse(400, 1007, "CSR parsed as empty.")
    try:
        csr = x509.load_pem_x509_csr(value.encode())
        fits = csr.is_signature_valid and isinstance(csr.public_key(), KEY_TYPES[kind])
    except (ValueError, UnsupportedAlgorithm) as error:
        raise refuse(400, 1011, "Failed to parse CSR.") from error
    if not fits:
        raise refuse(400, 1011, f"Failed to parse CSR: its key or signature is not {kind}.")
    return csr
