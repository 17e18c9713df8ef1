"""The provider `hcloud`: its settings and resources."""

import os
import re
from typing import TYPE_CHECKING, Any

from sandbox.plugins.errors import PluginError
from sandbox.plugins.hcloud.firewall import Firewall
from sandbox.plugins.hcloud.rdns import Rdns
from sandbox.plugins.hcloud.server import Server
from sandbox.plugins.hcloud.snapshot import Snapshot
from sandbox.plugins.hcloud.ssh_key import SshKey
from sandbox.plugins.http import refusal
from sandbox.plugins.install import VERSIONS
from sandbox.plugins.resource import Provider
from sandbox.plugins.schema import Failure, Field, check_fields
from sandbox.plugins.values import UNKNOWN, Props

if TYPE_CHECKING:
    from sandbox.plugins.hcloud.api import Hetzner

OFFICIAL_ENDPOINT = "https://api.hetzner.cloud/v1"
TOKEN_LENGTH = 64
POLL_INTERVAL = "500ms"


class HcloudProvider(Provider["Hetzner"]):
    """Stands in for pulumi-hcloud."""

    name = "hcloud"
    version = VERSIONS["hcloud"]
    config = {
        "token": Field("string"),
        "endpoint": Field("string"),
        "endpointHetzner": Field("string"),
        "pollInterval": Field("string"),
        "pollFunction": Field("string", choices=("constant", "exponential")),
    }
    resources = {
        resource.token: resource
        for resource in (Server(), SshKey(), Firewall(), Snapshot(), Rdns())
    }

    def check_config(self, config: Props) -> list[Failure]:
        """As the official one: a token of 64 characters, a duration that parses."""
        failures = check_fields(self.config, config, "provider")
        if failures:
            return failures
        token = _setting(config, "token", "HCLOUD_TOKEN", "")
        if token is not UNKNOWN and len(token) != TOKEN_LENGTH:
            reason = f"entered token is invalid (must be exactly {TOKEN_LENGTH} characters long)"
            failures.append(Failure("token", reason))
        endpoint = _setting(config, "endpoint", "HCLOUD_ENDPOINT", OFFICIAL_ENDPOINT)
        refused = None if endpoint is UNKNOWN else refusal(self.name, self.version, endpoint)
        if refused:
            failures.append(Failure("endpoint", refused))
        interval = config.get("pollInterval", POLL_INTERVAL)
        if interval is not UNKNOWN and _seconds(interval) is None:
            failures.append(Failure("pollInterval", f'time: invalid duration "{interval}"'))
        return failures

    def configure(self, config: Props) -> "Hetzner":
        """The API's client. The vendor's package is imported only here: it takes a while."""
        from sandbox.plugins.hcloud.api import Hetzner

        for failure in self.check_config(config):
            raise PluginError(failure.reason)
        return Hetzner(
            token=_setting(config, "token", "HCLOUD_TOKEN", ""),
            endpoint=_setting(config, "endpoint", "HCLOUD_ENDPOINT", OFFICIAL_ENDPOINT),
            poll_interval_s=_seconds(config.get("pollInterval", POLL_INTERVAL)) or 0.0,
            version=self.version,
        )


PROVIDER = HcloudProvider()


def _setting(config: Props, name: str, variable: str, default: str) -> Any:
    return config.get(name) or os.environ.get(variable) or default


def _seconds(duration: str) -> float | None:
    """A Go duration such as `1m30s` or `100ms` in seconds; None when it is none."""
    units = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    part = r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)"
    if not re.fullmatch(f"(?:{part})+", duration):
        return None
    return sum(float(number) * units[unit] for number, unit in re.findall(part, duration))
