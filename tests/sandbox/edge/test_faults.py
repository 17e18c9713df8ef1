import contextlib
import re
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from tests.sandbox.edge.conftest import Setup, eventually
from tests.sandbox.edge.origins import make_key, tls_context


def code_on_page(edge: Setup, name: str, status: int, path: str = "/") -> str:
    """The number on the page that the edge shows under `status`."""
    answer = edge.get(name, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    found = re.search(r'<p class="code">(\d+)</p>', answer.text)
    assert found
    assert answer.headers["cf-ray"] in answer.text
    return found[1]


def self_signed(edge: Setup, name: str) -> ssl.SSLContext:
    key_file, _ = make_key(edge.scratch)
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())  # type: ignore[arg-type]  # ours is an EC key
        .serial_number(7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        .sign(key, hashes.SHA256())  # type: ignore[arg-type]
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    return tls_context(pem, key_file)


@contextlib.contextmanager
def silent(address: str, port: int) -> Iterator[socket.socket]:
    """A port that takes connections and never says a word."""
    with socket.create_server((address, port)) as listening:
        yield listening


@contextlib.contextmanager
def deaf(address: str, port: int) -> Iterator[None]:
    """A port whose queue is full: the kernel drops every further attempt to connect."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(socket.create_server((address, port), backlog=0))
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((address, port))
        yield


def test_a_name_without_a_record_is_1016(edge: Setup) -> None:
    assert code_on_page(edge, "nobody.clawdet.com", 530) == "1016"


def test_a_host_outside_the_zone_is_1003(edge: Setup) -> None:
    for host in ("localhost", f"127.0.0.1:{edge.port}", "alice.example.com", "xclawdet.com"):
        answer = edge.get("x", headers={"Host": host})
        assert (answer.status_code, ">1003<" in answer.text) == (403, True), host


def test_a_server_that_is_off_is_521(edge: Setup) -> None:
    name, _ = edge.name()
    assert code_on_page(edge, name, 521) == "521"


def test_a_host_that_drops_packets_is_522(edge: Setup) -> None:
    name, address = edge.name()
    with deaf(address, edge.https_port):
        assert code_on_page(edge, name, 522) == "522"


def test_an_address_outside_this_machine_is_523_without_being_dialled(edge: Setup) -> None:
    name, _ = edge.name(content="203.0.113.7")
    assert code_on_page(edge, name, 523) == "523"


def test_a_server_that_never_answers_is_524(edge: Setup) -> None:
    assert code_on_page(edge, edge.site(), 524, "/slow") == "524"


def test_a_server_that_speaks_no_tls_is_525(edge: Setup) -> None:
    name, address = edge.name()
    edge.origins.serve(address, edge.https_port)
    assert code_on_page(edge, name, 525) == "525"


def test_a_server_that_says_nothing_in_the_handshake_is_525(edge: Setup) -> None:
    name, address = edge.name()
    with silent(address, edge.https_port):
        assert code_on_page(edge, name, 525) == "525"


def test_a_certificate_for_another_name_is_526(edge: Setup) -> None:
    assert code_on_page(edge, edge.site("other.clawdet.com"), 526) == "526"


def test_a_self_signed_certificate_is_526_until_the_mode_is_full(edge: Setup) -> None:
    name, address = edge.name()
    edge.origins.serve(address, edge.https_port, self_signed(edge, name))
    assert code_on_page(edge, name, 526) == "526"
    edge.ssl_mode("full")
    eventually(lambda: edge.get(name).status_code == 200)
    assert edge.get(name).json()["tls"] is True


def test_a_revoked_certificate_is_526_from_the_next_request(edge: Setup) -> None:
    name, address = edge.name()
    ordered = edge.certificate(name)
    edge.origins.serve(address, edge.https_port, tls_context(ordered["certificate"], edge.key))
    assert edge.get(name).status_code == 200
    edge.api("DELETE", f"/certificates/{ordered['id']}")
    assert code_on_page(edge, name, 526) == "526"


def test_a_connection_that_breaks_before_the_answer_is_520(edge: Setup) -> None:
    edge.ssl_mode("flexible")
    name, address = edge.name()
    with silent(address, edge.http_port) as listening:
        eventually(lambda: True, after_s=0.6)
        listening.settimeout(5)
        with socket.create_connection(("127.0.0.1", edge.port), timeout=30) as visitor:
            visitor.sendall(f"GET / HTTP/1.1\r\nHost: {edge.authority(name)}\r\n\r\n".encode())
            for _ in range(2):  # what can be asked twice is asked twice
                listening.accept()[0].close()
            assert visitor.recv(100).startswith(b"HTTP/1.1 520 ")


@pytest.mark.parametrize(("mode", "scheme"), [("flexible", "https"), ("off", "http")])
def test_without_tls_to_the_origin_it_is_asked_in_plain_http(
    edge: Setup, mode: str, scheme: str
) -> None:
    name, address = edge.name()
    edge.origins.serve(address, edge.http_port)
    edge.ssl_mode(mode)
    eventually(lambda: edge.get(name).status_code == 200)
    told = edge.get(name).json()
    assert told["tls"] is False
    assert dict(told["headers"])["x-forwarded-proto"] == scheme


def test_behind_a_record_that_is_not_proxied_the_server_speaks_for_itself(edge: Setup) -> None:
    name, address = edge.name(proxied=False)
    assert code_on_page(edge, name, 502) == "502"
    edge.origins.serve(address, edge.http_port)
    answer = edge.get(name, headers={"X-Forwarded-For": "203.0.113.9"})
    assert answer.headers["server"] == "Caddy"
    seen = dict(answer.json()["headers"])
    assert seen["x-forwarded-for"] == "203.0.113.9"
    assert "cf-connecting-ip" not in seen


def test_a_cname_is_followed_within_the_zone(edge: Setup) -> None:
    alias = f"alias-{next(edge.names)}.clawdet.com"
    target, address = edge.name(proxied=False)
    edge.name(type="CNAME", name=alias, content=target)
    ordered = edge.certificate(alias)
    edge.origins.serve(address, edge.https_port, tls_context(ordered["certificate"], edge.key))
    assert dict(edge.get(alias).json()["headers"])["host"] == alias
    loop, _ = edge.name(type="CNAME", content="elsewhere.example.org")
    assert code_on_page(edge, loop, 530) == "1016"


def test_a_changed_record_counts_soon(edge: Setup) -> None:
    name = edge.site()
    assert edge.get(name).status_code == 200
    [record] = edge.api("GET", f"{edge.zone}/dns_records?name={name}")
    edge.api("DELETE", f"{edge.zone}/dns_records/{record['id']}")
    eventually(lambda: edge.get(name).status_code == 530)


def test_while_the_api_fails_the_last_answer_counts(edge: Setup) -> None:
    name = edge.site()
    assert edge.get(name).status_code == 200
    fault = {"vendor": "cloudflare", "status": 500, "times": 50, "path": "dns_records|ssl$"}
    edge.admin("POST", "/faults", fault)
    try:
        eventually(lambda: True, after_s=0.6)
        assert edge.get(name).status_code == 200
        assert code_on_page(edge, "unseen.clawdet.com", 500) == "500"
    finally:
        edge.admin("DELETE", "/faults")
