"""What the program is told: the stack's configuration, typed."""

from dataclasses import dataclass
from typing import Any

import pulumi


@dataclass(frozen=True)
class InstanceConfig:
    """One instance as the stack's configuration describes it (`stacks.spec` writes it).

    `release`: versions, URLs and checksums of what runs on the server, as in
    cloud-init/release.json. `secrets`: an Output of one JSON object holding the tokens, keys and
    texts named in `stacks.spec.Secrets`; always a Pulumi secret. `install_archive`: path of the
    packed cloud-init/install folder, "" for a server without the install.
    """

    slug: str
    domain: str
    zone_id: str
    location: str
    server_type: str
    image: str
    hetzner_endpoint: str | None
    hetzner_poll_interval: str | None
    cloudflare_base_url: str | None
    host_public_key: str
    certificate_request: str
    model_base_url: str
    install_archive: str
    install_digest: str
    release: dict[str, Any]
    secrets: pulumi.Output[dict[str, str]]

    @property
    def hostname(self) -> str:
        """The instance's public name, e.g. alice.clawdet.com."""
        return f"{self.slug}.{self.domain}"

    def secret(self, name: str) -> pulumi.Output[str]:
        """One value of `secrets`, still a secret."""
        return self.secrets.apply(lambda values: values[name])

    @classmethod
    def from_stack(cls, config: pulumi.Config) -> "InstanceConfig":
        """Read everything; a missing value ends the program with Pulumi's own message."""
        return cls(
            slug=config.require("slug"),
            domain=config.require("domain"),
            zone_id=config.require("zoneId"),
            location=config.require("location"),
            server_type=config.require("serverType"),
            image=config.require("image"),
            hetzner_endpoint=config.get("hetznerEndpoint"),
            hetzner_poll_interval=config.get("hetznerPollInterval"),
            cloudflare_base_url=config.get("cloudflareBaseUrl"),
            host_public_key=config.require("hostPublicKey"),
            certificate_request=config.require("certificateRequest"),
            model_base_url=config.get("modelBaseUrl") or "",
            install_archive=config.get("installArchive") or "",
            install_digest=config.get("installDigest") or "",
            release=config.require_object("release"),
            secrets=config.require_secret_object("secrets"),
        )
