"""The Pulumi program: one `Instance`, and what others need to know of it."""

import pulumi

from infra.config import InstanceConfig
from infra.instance import Instance


def program() -> None:
    """Declare the stack's instance. Exports: slug, hostname, serverId, ipv4, location, release."""
    config = InstanceConfig.from_stack(pulumi.Config())
    instance = Instance(config.slug, config)
    pulumi.export("slug", config.slug)
    pulumi.export("hostname", config.hostname)
    pulumi.export("serverId", instance.server.id)
    pulumi.export("ipv4", instance.server.ipv4_address)
    pulumi.export("location", instance.server.location)
    pulumi.export("release", config.release["release"])
