"""Idempotency-Key: the same request again gets the answer of the first.

Kept are answers of requests that were carried out, refused cards among them; a request that was
found invalid may be corrected under the same key, as the vendor's documentation says.
"""

import hashlib
from collections.abc import Callable

from flask import g, request

from sandbox.clouds.stripe.errors import ApiError, invalid
from sandbox.clouds.stripe.ledger import Ledger

KIND = "stripe.idempotency"
LENGTH = 255


def once(ledger: Ledger, work: Callable[[], tuple[str, int]]) -> tuple[str, int]:
    """The body and status of `work`, or of the earlier request with the key.

    Call it in a transaction: a second request waits there until the first is through.
    """
    key = request.headers.get("Idempotency-Key")
    if not key:
        return work()
    if len(key) > LENGTH:
        raise invalid(f"Idempotency keys can be at most {LENGTH} characters long.")
    g.stripe_headers = {"Idempotency-Key": key}
    fingerprint = _fingerprint()
    earlier = ledger.store.get(KIND, key)
    if earlier is None:
        body, status = work()
        kept = {"request": fingerprint, "body": body, "status": status, "id": g.stripe_request_id}
        ledger.store.put(KIND, key, kept)
        return body, status
    if earlier["request"] != fingerprint:
        raise ApiError(
            400,
            "idempotency_error",
            "Keys for idempotent requests can only be used with the same parameters they were "
            f"first used with. Try using a key other than '{key}' if you meant to execute a "
            "different request.",
        )
    g.stripe_headers |= {"Idempotent-Replayed": "true", "Original-Request": earlier["id"]}
    return earlier["body"], earlier["status"]


def _fingerprint() -> str:
    """What makes two requests the same: method, path and body."""
    parts = f"{request.method} {request.full_path}\n".encode() + request.get_data(cache=True)
    return hashlib.sha256(parts).hexdigest()
