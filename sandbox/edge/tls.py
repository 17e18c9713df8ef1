"""How the edge speaks TLS to an origin."""

import ssl
from pathlib import Path


class OriginTls:
    """TLS contexts for the SSL modes; reads the Origin CA's files in `directory` as they change."""

    def __init__(self, directory: Path) -> None:
        self._files = (directory / "origin-ca.pem", directory / "origin-ca.crl")
        self._read: tuple[int, ...] = ()
        self._strict: ssl.SSLContext | None = None
        self._unverified = _context()
        self._unverified.check_hostname = False
        self._unverified.verify_mode = ssl.CERT_NONE

    def context(self, *, verify: bool) -> ssl.SSLContext:
        """With `verify`: the certificate must be the Origin CA's, for the host's name, within its
        dates and not revoked. Without: any certificate will do."""
        if not verify:
            return self._unverified
        versions = tuple(path.stat().st_mtime_ns for path in self._files)
        if self._strict is None or versions != self._read:
            self._strict = self._verified()
            self._read = versions
        return self._strict

    def _verified(self) -> ssl.SSLContext:
        context = _context()
        for path in self._files:
            context.load_verify_locations(cafile=path)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        return context


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    return context
