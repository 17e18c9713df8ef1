"""The provider `cloudflare`: its settings and resources."""

import os
import re
from typing import TYPE_CHECKING, Any

from sandbox.plugins.cloudflare.dns_record import DnsRecord
from sandbox.plugins.cloudflare.origin_ca_certificate import OriginCaCertificate
from sandbox.plugins.errors import PluginError
from sandbox.plugins.http import refusal
from sandbox.plugins.install import VERSIONS
from sandbox.plugins.resource import Provider
from sandbox.plugins.schema import Failure, Field, check_fields
from sandbox.plugins.values import UNKNOWN, Props

if TYPE_CHECKING:
    from sandbox.plugins.cloudflare.api import CloudflareApi

OFFICIAL_BASE = "https://api.cloudflare.com/client/v4/"
OLD_KEYS = "the stand-in plugin signs in by apiToken only"


class CloudflareProvider(Provider["CloudflareApi"]):
    """Stands in for pulumi-cloudflare."""

    name = "cloudflare"
    version = VERSIONS["cloudflare"]
    config = {
        "apiKey": Field("string", unsupported=OLD_KEYS),
        "apiToken": Field("string"),
        "apiUserServiceKey": Field("string", unsupported=OLD_KEYS),
        "baseUrl": Field("string"),
        "email": Field("string", unsupported=OLD_KEYS),
        "userAgentOperatorSuffix": Field("string"),
    }
    resources = {resource.token: resource for resource in (DnsRecord(), OriginCaCertificate())}

    def check_config(self, config: Props) -> list[Failure]:
        """As the official one: a token of 40 letters, digits, hyphens and underscores."""
        failures = check_fields(self.config, config, "provider")
        if failures:
            return failures
        token = _setting(config, "apiToken", "CLOUDFLARE_API_TOKEN", "")
        if token is not UNKNOWN and not re.fullmatch(r"[A-Za-z0-9_-]{40}", token):
            reason = (
                "API tokens must be 40 characters long and only contain"
                " characters a-z, A-Z, 0-9, hyphens and underscores"
            )
            failures.append(Failure("apiToken", reason))
        base = _setting(config, "baseUrl", "CLOUDFLARE_BASE_URL", OFFICIAL_BASE)
        refused = None if base is UNKNOWN else refusal(self.name, self.version, base)
        if refused:
            failures.append(Failure("baseUrl", refused))
        return failures

    def configure(self, config: Props) -> "CloudflareApi":
        """The API's client. The vendor's package is imported only here: it takes a while."""
        from sandbox.plugins.cloudflare.api import CloudflareApi

        for failure in self.check_config(config):
            raise PluginError(failure.reason)
        return CloudflareApi(
            token=_setting(config, "apiToken", "CLOUDFLARE_API_TOKEN", ""),
            base_url=_setting(config, "baseUrl", "CLOUDFLARE_BASE_URL", OFFICIAL_BASE),
        )


PROVIDER = CloudflareProvider()


def _setting(config: Props, name: str, variable: str, default: str) -> Any:
    return config.get(name) or os.environ.get(variable) or default
