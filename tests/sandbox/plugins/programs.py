"""Pulumi programs of the tests, written against the official SDKs."""

from collections.abc import Callable
from dataclasses import dataclass

import pulumi
import pulumi_cloudflare as cloudflare
import pulumi_hcloud as hcloud
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.sandbox.plugins.bench import Clouds

PUBLIC_KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFDjbwdjvJiEoNBTe4Q0j8yxM0rcXSzu1WuSx4t16+dR clawdet"
)


def hetzner_provider(clouds: Clouds, token: str | None = None) -> hcloud.Provider:
    """The provider for a sandbox's Hetzner."""
    return hcloud.Provider(
        "hetzner",
        token=token or clouds.credentials.hetzner_token,
        endpoint=f"{clouds.base}/v1",
        poll_interval="100ms",
    )


def cloudflare_provider(clouds: Clouds) -> cloudflare.Provider:
    """The provider for a sandbox's Cloudflare."""
    return cloudflare.Provider(
        "cloudflare",
        api_token=clouds.credentials.cloudflare_token,
        base_url=f"{clouds.base}/client/v4/",
    )


def basics(clouds: Clouds) -> Callable[[], None]:
    """Key, server and record as in the first recording."""

    def program() -> None:
        hetzner = pulumi.ResourceOptions(provider=hetzner_provider(clouds))
        key = hcloud.SshKey("key", public_key=PUBLIC_KEY, opts=hetzner)
        server = hcloud.Server(
            "vps",
            server_type="cpx22",
            image="ubuntu-24.04",
            location="fsn1",
            ssh_keys=[key.id],
            user_data="#cloud-config\n",
            opts=hetzner,
        )
        cloudflare.DnsRecord(
            "record",
            zone_id=clouds.zone_id,
            name="dave.clawdet.com",
            type="A",
            content=server.ipv4_address,
            proxied=True,
            ttl=1,
            opts=pulumi.ResourceOptions(provider=cloudflare_provider(clouds)),
        )
        pulumi.export("ip", server.ipv4_address)

    return program


@dataclass(frozen=True)
class Erin:
    """The program of the recorded scenarios, and what changes in it."""

    clouds: Clouds
    csr: str
    release: str = ""
    server_type: str = "cpx22"
    content: str = "127.0.0.1"
    snapshot: bool = False

    def __call__(self) -> None:
        hetzner = pulumi.ResourceOptions(provider=hetzner_provider(self.clouds))
        firewall = hcloud.Firewall(
            "fw",
            name="fw-erin",
            rules=[
                hcloud.FirewallRuleArgs(
                    direction="in",
                    protocol="tcp",
                    port="443",
                    source_ips=["0.0.0.0/0", "::/0"],
                )
            ],
            opts=hetzner,
        )
        server = self._server(firewall, hetzner)
        records = pulumi.ResourceOptions(provider=cloudflare_provider(self.clouds))
        cloudflare.OriginCaCertificate(
            "cert",
            csr=self.csr,
            hostnames=["erin.clawdet.com"],
            request_type="origin-ecc",
            requested_validity=5475,
            opts=records,
        )
        cloudflare.DnsRecord(
            "record",
            zone_id=self.clouds.zone_id,
            name="erin.clawdet.com",
            type="A",
            content=server.ipv4_address.apply(lambda _: self.content),
            comment="clawdet",
            proxied=True,
            ttl=1,
            opts=records,
        )

    def _server(self, firewall: hcloud.Firewall, hetzner: pulumi.ResourceOptions) -> hcloud.Server:
        labels = {"instance": "erin"} | ({"release": self.release} if self.release else {})
        server = hcloud.Server(
            "vps",
            name="erin",
            server_type=self.server_type,
            image="ubuntu-24.04",
            location="fsn1",
            user_data="#cloud-config\n",
            labels=labels,
            firewall_ids=[firewall.id.apply(int)],
            public_nets=[hcloud.ServerPublicNetArgs(ipv4_enabled=True, ipv6_enabled=True)],
            opts=hetzner,
        )
        if self.snapshot:
            hcloud.Snapshot(
                "snap", server_id=server.id.apply(int), description="golden", opts=hetzner
            )
        return server


def signing_request(name: str) -> str:
    """A certificate request for a name, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    signed = request.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()
