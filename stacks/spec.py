"""What an operator or the web app asks for, made into a stack's configuration."""

import json
import re
from string import Template
from typing import Any

from pydantic import BaseModel

from stacks.errors import UsageError
from stacks.keys import new_certificate_request, new_gateway_token, new_ssh_key_pair
from stacks.release import InstallArchive, load_release
from stacks.settings import CHECKOUT, Settings

# A DNS label (RFC 1035), at most 40 characters so that a suffix still fits.
SLUG = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")

# Names of ours under the domain, and those that mail and certificates expect (RFC 2142).
RESERVED = frozenset(
    """
    www api app admin mail smtp imap pop ftp ns ns1 ns2 mx dns status blog docs help support
    billing dashboard login auth cdn static assets gateway platform staging test dev abuse
    postmaster hostmaster webmaster security root autoconfig autodiscover mta-sts
    """.split()  # noqa: SIM905 (a list of names reads best as words)
)


def check_slug(slug: str) -> str:
    """The slug itself; UsageError if it can't be a host name of ours."""
    if not SLUG.fullmatch(slug):
        raise UsageError(
            f"{slug!r} is no stack name",
            "use 1 to 40 of a-z, 0-9 and -, neither first nor last a -, e.g. alice",
        )
    if slug in RESERVED:
        raise UsageError(f"{slug!r} is reserved for Clawdet itself", "choose another name")
    return slug


class Secrets(BaseModel):
    """The instance's secrets, kept encrypted in the stack's configuration as one JSON object."""

    hetzner_token: str
    cloudflare_token: str
    anthropic_api_key: str
    gateway_token: str
    ssh_private_key: str
    ssh_public_key: str
    host_private_key: str
    origin_key: str
    user_data: str


class StackConfig(BaseModel):
    """A stack's whole configuration: `plain` values by key, and `secrets`."""

    plain: dict[str, Any]
    secrets: Secrets


def new_config(settings: Settings, slug: str, install: InstallArchive | None) -> StackConfig:
    """Configuration of a new instance, with keys and tokens of its own."""
    login, host = new_ssh_key_pair(), new_ssh_key_pair()
    hostname = f"{slug}.{settings.clawdet_domain}"
    certificate = new_certificate_request(hostname)
    secrets = Secrets(
        **_credentials(settings),
        gateway_token=new_gateway_token(),
        ssh_private_key=login.private,
        ssh_public_key=login.public,
        host_private_key=host.private,
        origin_key=certificate.key,
        user_data=_user_data(hostname, login.public, host.private, host.public),
    )
    identity = {
        "slug": slug,
        "hostPublicKey": host.public,
        "certificateRequest": certificate.request,
        "location": settings.clawdet_locations[0],
    }
    return StackConfig(plain=identity | _plain(settings, install), secrets=secrets)


def renewed_config(
    settings: Settings, old: StackConfig, install: InstallArchive | None
) -> StackConfig:
    """The same instance under today's settings: credentials, endpoints, release; keys are kept."""
    return StackConfig(
        plain=old.plain | _plain(settings, install),
        secrets=old.secrets.model_copy(update=_credentials(settings)),
    )


def with_new_token(old: StackConfig) -> StackConfig:
    """The same instance with another gateway token."""
    secrets = old.secrets.model_copy(update={"gateway_token": new_gateway_token()})
    return StackConfig(plain=old.plain, secrets=secrets)


def _credentials(settings: Settings) -> dict[str, str]:
    settings.require("hetzner_api_token", "cloudflare_api_token", "cloudflare_zone_id")
    return {
        "hetzner_token": settings.hetzner_api_token.get_secret_value(),
        "cloudflare_token": settings.cloudflare_api_token.get_secret_value(),
        "anthropic_api_key": settings.anthropic_api_key.get_secret_value(),
    }


def _plain(settings: Settings, install: InstallArchive | None) -> dict[str, Any]:
    if install:
        settings.require("anthropic_api_key")
    return {
        "domain": settings.clawdet_domain,
        "zoneId": settings.cloudflare_zone_id,
        "serverType": settings.clawdet_server_type,
        "image": settings.clawdet_image,
        "hetznerEndpoint": settings.hetzner_endpoint,
        "hetznerPollInterval": settings.hetzner_poll_interval,
        "cloudflareBaseUrl": settings.cloudflare_base_url,
        "modelBaseUrl": settings.clawdet_model_base_url,
        "installArchive": str(install.path) if install else "",
        "installDigest": install.digest if install else "",
        "release": json.dumps(load_release(settings.clawdet_release)),
    }


def _user_data(hostname: str, login_public: str, host_private: str, host_public: str) -> str:
    template = Template((CHECKOUT / "cloud-init" / "user-data.yaml").read_text())
    return template.substitute(
        hostname=hostname,
        ssh_public_key=login_public,
        # A YAML block scalar: every line of the key at the template's depth.
        host_private_key=host_private.strip().replace("\n", "\n    "),
        host_public_key=host_public,
    )
