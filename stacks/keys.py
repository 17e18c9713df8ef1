"""Keys and tokens of one instance, made by us."""

import secrets
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

GATEWAY_TOKEN_BYTES = 32


@dataclass(frozen=True)
class SshKeyPair:
    """An Ed25519 pair: `private` in OpenSSH's PEM form, `public` as "ssh-ed25519 AAAA…"."""

    private: str
    public: str


@dataclass(frozen=True)
class CertificateRequest:
    """An EC P-256 `key` (PKCS#8 PEM) and a certificate request for it (PEM)."""

    key: str
    request: str


def new_ssh_key_pair() -> SshKeyPair:
    """A new pair, for logging in or as a server's host key."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return SshKeyPair(private.decode(), public.decode())


def new_certificate_request(hostname: str) -> CertificateRequest:
    """A new key and a request naming `hostname`, for Cloudflare's origin CA (origin-ecc)."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname)]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return CertificateRequest(
        pem.decode(), request.public_bytes(serialization.Encoding.PEM).decode()
    )


def new_gateway_token() -> str:
    """The token a browser or a client shows to the instance's gateway: 32 random bytes in hex."""
    return secrets.token_hex(GATEWAY_TOKEN_BYTES)
