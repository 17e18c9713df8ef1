"""What an install step is given: made here as the stacks would make it."""

import datetime
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

CLOUD_INIT = Path(__file__).parents[2] / "cloud-init"
INSTALL = CLOUD_INIT / "install"
Document = dict[str, Any]


@dataclass(frozen=True)
class KeyPair:
    """An SSH key in OpenSSH's own formats."""

    private: str
    public: str


def make_ssh_key() -> KeyPair:
    key = ed25519.Ed25519PrivateKey.generate()
    return KeyPair(
        private=key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode(),
        public=key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(),
    )


def make_origin(hostname: str, valid_days: int = 30) -> tuple[str, str]:
    """A self-signed certificate for the name, and its key, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "origin")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=valid_days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM).decode(), private.decode()


def make_document(slug: str = "alice", **changes: Any) -> Document:
    """A whole document for `slug`, with the default release unless changed."""
    hostname = f"{slug}.clawdet.com"
    certificate, key = make_origin(hostname)
    return {
        "slug": slug,
        "domain": "clawdet.com",
        "hostname": hostname,
        "release": json.loads((CLOUD_INIT / "release.json").read_text()),
        "gateway_token": secrets.token_hex(24),
        "anthropic_api_key": f"sk-ant-{secrets.token_hex(16)}",
        "model_base_url": "",
        "origin_certificate": certificate,
        "origin_key": key,
        **changes,
    }
