"""The sandbox's Origin CA: signs the certificates that the edge trusts under SSL mode strict."""

import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CERTIFICATE_FILE = "origin-ca.pem"
KEY_FILE = "origin-ca-key.pem"
REVOKED_FILE = "origin-ca.crl"
LIFE = timedelta(days=15 * 365)
# Clocks of origin and edge may differ a little.
BACKDATE = timedelta(minutes=5)


class OriginCa:
    """A certificate authority in `directory`, made on first use and kept.

    `origin-ca.pem` is its certificate and `origin-ca.crl` (PEM) what it has revoked: both are for
    the edge. The key never leaves `origin-ca-key.pem` (mode 0600).
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / CERTIFICATE_FILE).exists():
            self._make()
        self.certificate = x509.load_pem_x509_certificate(
            (directory / CERTIFICATE_FILE).read_bytes()
        )
        key = serialization.load_pem_private_key((directory / KEY_FILE).read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{directory / KEY_FILE} holds no EC key: remove both files")
        self._key = key

    def sign(
        self, request: x509.CertificateSigningRequest, hostnames: Sequence[str], days: int
    ) -> x509.Certificate:
        """A server certificate for the request's key, for `hostnames`, valid `days` from now."""
        now = datetime.now(UTC).replace(microsecond=0)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name("CloudFlare Origin Certificate"))
            .issuer_name(self.certificate.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName(map(x509.DNSName, hostnames)), False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
            .add_extension(_key_usage(ca=False), True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(request.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False
            )
        )
        return builder.sign(self._key, hashes.SHA256())

    def publish_revoked(self, serials: Iterable[int]) -> None:
        """Write the list of all revoked serial numbers, for the edge to read."""
        now = datetime.now(UTC).replace(microsecond=0)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - BACKDATE)
            .next_update(now + LIFE)
        )
        for serial in serials:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            )
        signed = builder.sign(self._key, hashes.SHA256())
        _write(self._directory / REVOKED_FILE, signed.public_bytes(serialization.Encoding.PEM))

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC).replace(microsecond=0)
        name = _name("Clawdet sandbox Origin CA")
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(now + LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
            .add_extension(_key_usage(ca=True), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .sign(key, hashes.SHA256())
        )
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        # The certificate last: where it is, its key is too.
        _write(self._directory / KEY_FILE, secret, mode=0o600)
        _write(
            self._directory / CERTIFICATE_FILE,
            certificate.public_bytes(serialization.Encoding.PEM),
        )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Clawdet sandbox"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not ca,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Readers see the old file or the new one, never a part."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    new.replace(path)
