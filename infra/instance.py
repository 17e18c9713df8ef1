"""One customer's instance: server, certificate, name, and the install on the server."""

import pulumi
import pulumi_cloudflare as cloudflare
import pulumi_hcloud as hcloud

from infra.config import InstanceConfig
from infra.install import Install

CERTIFICATE_DAYS = 5475  # the longest Cloudflare's origin CA issues: 15 years

# The provider replaces a server when one of these changes; each only matters at creation.
AT_CREATION_ONLY = ["user_data", "ssh_keys", "image"]


class Instance(pulumi.ComponentResource):
    """Everything that exists for one customer.

    Attributes: `server` (hcloud.Server), `certificate` (cloudflare.OriginCaCertificate), `record`
    (cloudflare.DnsRecord).
    """

    def __init__(self, name: str, config: InstanceConfig) -> None:
        super().__init__("clawdet:index:Instance", name)
        self._config = config
        self._hetzner = pulumi.ResourceOptions(parent=self, provider=self._hetzner_provider())
        self._cloudflare = pulumi.ResourceOptions(parent=self, provider=self._cloudflare_provider())
        self.server = self._server()
        self.certificate = self._certificate()
        self.record = self._record()
        if config.install_archive:
            Install("install", config, self.server, self.certificate, parent=self)
        self.register_outputs({"ipv4": self.server.ipv4_address})

    def _hetzner_provider(self) -> hcloud.Provider:
        return hcloud.Provider(
            "hetzner",
            token=self._config.secret("hetzner_token"),
            endpoint=self._config.hetzner_endpoint,
            poll_interval=self._config.hetzner_poll_interval,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _cloudflare_provider(self) -> cloudflare.Provider:
        return cloudflare.Provider(
            "cloudflare",
            api_token=self._config.secret("cloudflare_token"),
            base_url=self._config.cloudflare_base_url,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _server(self) -> hcloud.Server:
        config = self._config
        return hcloud.Server(
            "server",
            name=config.slug,
            server_type=config.server_type,
            image=config.image,
            location=config.location,
            user_data=config.secret("user_data"),
            # How a server that the state lost is found again (stacks.recovery).
            labels={"managed-by": "clawdet", "instance": config.slug},
            opts=self._hetzner.merge(
                pulumi.ResourceOptions(
                    ignore_changes=AT_CREATION_ONLY,
                    # Its name is unique at Hetzner: the old one must be gone before a new one.
                    delete_before_replace=True,
                    custom_timeouts=pulumi.CustomTimeouts(create="10m"),
                )
            ),
        )

    def _certificate(self) -> cloudflare.OriginCaCertificate:
        return cloudflare.OriginCaCertificate(
            "certificate",
            csr=self._config.certificate_request,
            hostnames=[self._config.hostname],
            request_type="origin-ecc",
            requested_validity=CERTIFICATE_DAYS,
            opts=self._cloudflare,
        )

    def _record(self) -> cloudflare.DnsRecord:
        return cloudflare.DnsRecord(
            "record",
            zone_id=self._config.zone_id,
            name=self._config.hostname,
            type="A",
            content=self.server.ipv4_address,
            proxied=True,
            ttl=1,  # "automatic": the only value Cloudflare takes for a proxied record
            # Says whose record it is: one without it is never touched (stacks.recovery).
            comment=f"clawdet instance {self._config.slug}",
            opts=self._cloudflare,
        )
