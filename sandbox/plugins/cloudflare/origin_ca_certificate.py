"""`cloudflare:index/originCaCertificate:OriginCaCertificate`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sandbox.plugins.resource import Known, Live, Operation, Resource
from sandbox.plugins.schema import Failure, Field
from sandbox.plugins.values import UNKNOWN, Props

if TYPE_CHECKING:
    from sandbox.plugins.cloudflare.api import CloudflareApi

VALIDITIES = (7, 30, 90, 365, 730, 1095, 5475)
REQUEST_TYPES = ("origin-rsa", "origin-ecc", "keyless-certificate")


class OriginCaCertificate(Resource["CloudflareApi"]):
    """A certificate that Cloudflare's edge trusts. Any change makes a new one."""

    token = "cloudflare:index/originCaCertificate:OriginCaCertificate"
    fields = {
        "csr": Field("string", required=True, replace=True),
        "hostnames": Field("list", items="string", required=True, replace=True, unordered=True),
        "requestType": Field("string", required=True, replace=True, choices=REQUEST_TYPES),
        "requestedValidity": Field("number", replace=True, computed=True),
    }
    computed = ("certificate", "expiresOn", "id")

    def check_more(self, inputs: Props) -> list[Failure]:
        """Only certain validities are sold."""
        validity = inputs.get("requestedValidity")
        if validity in (None, UNKNOWN, *VALIDITIES):
            return []
        allowed = ", ".join(map(str, VALIDITIES))
        reason = f"requested_validity value must be one of: {allowed}, got: {validity}"
        return [Failure("requestedValidity", reason)]

    def comparable(self, name: str, have: Any, wanted: Any) -> tuple[Any, Any]:
        """White space around the request says nothing."""
        if name == "csr" and isinstance(have, str) and isinstance(wanted, str):
            return have.strip(), wanted.strip()
        return have, wanted

    def create(self, operation: Operation["CloudflareApi"], inputs: Props) -> Live:
        """POST the request."""
        body = {
            "csr": inputs["csr"],
            "hostnames": inputs["hostnames"],
            "request_type": inputs["requestType"],
            "requested_validity": inputs.get("requestedValidity", VALIDITIES[-1]),
        }
        result = operation.backend.send(operation, "POST", "/certificates", body)
        return _live(result, inputs)

    def read(self, operation: Operation["CloudflareApi"], known: Known) -> Live | None:
        """GET it. What an answer leaves out stays as it was."""
        path = f"/certificates/{known.resource_id}"
        result = operation.backend.find(operation, path)
        return _live(result, known.state) if result else None

    def delete(self, operation: Operation["CloudflareApi"], known: Known) -> None:
        """Revoke it."""
        operation.backend.delete(operation, f"/certificates/{known.resource_id}")


def _live(certificate: Mapping[str, Any], known: Props) -> Live:
    outputs = {
        "certificate": certificate.get("certificate", known.get("certificate")),
        "csr": certificate.get("csr") or known.get("csr"),
        "expiresOn": certificate.get("expires_on", known.get("expiresOn")),
        "hostnames": certificate.get("hostnames") or known.get("hostnames"),
        "id": str(certificate["id"]),
        "requestType": certificate.get("request_type") or known.get("requestType"),
        "requestedValidity": certificate.get("requested_validity")
        or known.get("requestedValidity", VALIDITIES[-1]),
    }
    return Live(str(certificate["id"]), outputs)
