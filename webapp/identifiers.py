"""Names for rows and secrets for people: both from the system's randomness."""

import base64
import hashlib
import secrets


def new_id(prefix: str) -> str:
    """Like `usr_k3j…`: the kind, then 100 random bits in lower case."""
    return f"{prefix}_{base64.b32encode(secrets.token_bytes(15))[:20].decode().lower()}"


def new_token() -> str:
    """32 random bytes for a cookie or a link, URL-safe."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """What we keep of a token: it is random enough for a plain SHA-256 (hex)."""
    return hashlib.sha256(token.encode()).hexdigest()
