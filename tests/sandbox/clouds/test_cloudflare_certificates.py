from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cloudflare
import pytest
from cloudflare import Cloudflare
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sandbox.clouds import cloudflare as company
from sandbox.clouds.cloudflare.origin_ca import OriginCa
from sandbox.clouds.world import World
from tests.sandbox.clouds.live import Live, call

Serve = Callable[..., Live]
API = "/client/v4"
NAME = "alice.clawdet.com"


@pytest.fixture
def live(serve: Serve) -> Live:
    return serve({API: company.blueprint})


@pytest.fixture
def client(live: Live, world: World) -> Iterator[Cloudflare]:
    token = world.credentials.cloudflare_token
    url = f"{live.url}{API}"
    with Cloudflare(api_token=token, base_url=url, max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture
def csr() -> str:
    return csr_for(ec.generate_private_key(ec.SECP256R1()))


def csr_for(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    request = x509.CertificateSigningRequestBuilder(subject_name=x509.Name([]))
    signed = request.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def order(client: Cloudflare, csr: str, **changes: Any) -> Any:
    fields: dict[str, Any] = {"hostnames": [NAME], "request_type": "origin-ecc"}
    return client.origin_ca_certificates.create(csr=csr, **fields | changes)


def revoked_in(directory: Path) -> set[int]:
    listed = x509.load_pem_x509_crl((directory / "origin-ca.crl").read_bytes())
    return {entry.serial_number for entry in listed}


def test_a_certificate_is_really_signed_by_the_origin_ca(
    client: Cloudflare, csr: str, world: World
) -> None:
    ordered = order(client, csr, hostnames=[NAME, "*.clawdet.com"], requested_validity=30)
    certificate = x509.load_pem_x509_certificate(ordered.certificate.encode())
    ca = x509.load_pem_x509_certificate((world.directory / "origin-ca.pem").read_bytes())
    certificate.verify_directly_issued_by(ca)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [NAME, "*.clawdet.com"]
    assert str(certificate.serial_number) == ordered.id
    days = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < days <= timedelta(days=30)
    assert ordered.expires_on == f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} +0000 UTC"
    wanted = x509.load_pem_x509_csr(csr.encode()).public_key()
    assert certificate.public_key() == wanted


def test_an_rsa_request_is_signed_too_and_lasts_fifteen_years(client: Cloudflare) -> None:
    csr = csr_for(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    ordered = order(client, csr, request_type="origin-rsa")
    assert ordered.requested_validity == 5475
    assert ordered.request_type == "origin-rsa"


def test_a_certificate_is_listed_and_fetched_until_it_is_revoked(
    client: Cloudflare, csr: str, world: World
) -> None:
    zone = world.credentials.cloudflare_zone_id
    ordered = order(client, csr)
    other = order(client, csr)
    assert client.origin_ca_certificates.get(ordered.id) == ordered
    listed = client.origin_ca_certificates.list(zone_id=zone)
    assert [found.id for found in listed] == [ordered.id, other.id]
    deleted = client.origin_ca_certificates.delete(ordered.id)
    assert deleted is not None
    assert (deleted.id, deleted.revoked_at is not None) == (ordered.id, True)
    assert revoked_in(world.directory) == {int(ordered.id)}
    listed = client.origin_ca_certificates.list(zone_id=zone)
    assert [found.id for found in listed] == [other.id]
    after: Any = client.origin_ca_certificates.get(ordered.id)
    assert after.revoked_at
    with pytest.raises(cloudflare.BadRequestError) as error:
        client.origin_ca_certificates.delete(ordered.id)
    assert error.value.errors[0].code == 1014


def test_an_unknown_certificate_is_not_found(client: Cloudflare) -> None:
    with pytest.raises(cloudflare.NotFoundError) as error:
        client.origin_ca_certificates.get("1234")
    assert error.value.errors[0].code == 1101


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"csr": ""}, 1007),
        ({"csr": "hello"}, 1011),
        ({"csr": "\ud800"}, 1011),
        ({"request_type": "origin-dsa"}, 1002),
        ({"request_type": "origin-rsa"}, 1011),
        ({"requested_validity": 31}, 1009),
        ({"requested_validity": [7]}, 1009),
        ({"hostnames": []}, 1010),
        ({"hostnames": "alice.clawdet.com"}, 1010),
        ({"hostnames": ["alice.example.com"]}, 1010),
        ({"hostnames": ["a.*.clawdet.com"]}, 1010),
        ({"hostnames": ["notclawdet.com"]}, 1010),
        ({"hostnames": [7]}, 1010),
        ({"hostnames": [f"u{number}.clawdet.com" for number in range(101)]}, 1005),
    ],
)
def test_an_order_that_breaks_a_rule_is_refused_with_the_vendors_code(
    live: Live, world: World, csr: str, changes: dict[str, Any], code: int
) -> None:
    fields = {"csr": csr, "hostnames": [NAME], "request_type": "origin-ecc"}
    token = world.credentials.cloudflare_token
    answer = call(live.url, "POST", f"{API}/certificates", fields | changes, token)
    assert answer.status == 400
    assert [problem["code"] for problem in answer.json["errors"]] == [code]


def test_a_list_needs_a_zone_of_ours(live: Live, world: World) -> None:
    token = world.credentials.cloudflare_token
    answer = call(live.url, "GET", f"{API}/certificates", token=token)
    assert (answer.status, answer.json["errors"][0]["code"]) == (400, 1012)
    answer = call(live.url, "GET", f"{API}/certificates?zone_id={'0' * 32}", token=token)
    assert (answer.status, answer.json["errors"][0]["code"]) == (403, 10000)


def test_the_origin_ca_is_made_once_per_directory(tmp_path: Path) -> None:
    first, second = OriginCa(tmp_path), OriginCa(tmp_path)
    assert first.certificate == second.certificate
    assert (tmp_path / "origin-ca-key.pem").stat().st_mode & 0o777 == 0o600
    assert OriginCa(tmp_path / "other").certificate != first.certificate


def test_what_was_revoked_stays_revoked_after_a_restart(
    client: Cloudflare, csr: str, world: World
) -> None:
    ordered = order(client, csr)
    client.origin_ca_certificates.delete(ordered.id)
    (world.directory / "origin-ca.crl").unlink()
    company.blueprint(world)
    assert revoked_in(world.directory) == {int(ordered.id)}
