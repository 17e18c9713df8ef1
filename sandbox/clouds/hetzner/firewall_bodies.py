"""The bodies of requests about firewalls, with the vendor's rules for rules."""

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from sandbox.clouds.hetzner.errors import ApiError
from sandbox.clouds.hetzner.inputs import Body, LabelMap, Name
from sandbox.clouds.hetzner.labels import selector

PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


def _network(text: str) -> str:
    ipaddress.ip_network(text)  # a ValueError says what is wrong
    if "/" not in text:
        raise ValueError("must be in CIDR notation")
    return text


def _ports(text: str) -> str:
    match = PORTS.fullmatch(text)
    ports = [int(part) for part in match.groups() if part] if match else []
    if not ports or ports != sorted(ports) or not all(1 <= port <= 65535 for port in ports):
        raise ValueError("must be a port or a range of ports")
    return text


def _selector(text: str) -> str:
    try:
        selector(text)
    except ApiError as error:
        raise ValueError(error.message) from error
    if not text.strip():
        raise ValueError("must not be empty")
    return text


Networks = Annotated[list[Annotated[str, AfterValidator(_network)]], Field(max_length=100)]


class Rule(Body):
    """One rule: which traffic may pass."""

    direction: Literal["in", "out"]
    protocol: Literal["tcp", "udp", "icmp", "esp", "gre"]
    port: Annotated[str, AfterValidator(_ports)] | None = None
    source_ips: Networks = []
    destination_ips: Networks = []
    description: Annotated[str, Field(max_length=255)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Rule":
        has_ports = self.protocol in ("tcp", "udp")
        if has_ports != (self.port is not None):
            raise ValueError("port is required for tcp and udp, and only there")
        incoming = self.direction == "in"
        wanted, other = self.source_ips, self.destination_ips
        if not incoming:
            wanted, other = other, wanted
        if not wanted or other:
            field = "source_ips" if incoming else "destination_ips"
            raise ValueError(f"direction {self.direction} needs {field} and nothing else")
        return self


class ServerId(Body):
    """A server."""

    id: int


class Selector(Body):
    """A label selector."""

    selector: Annotated[str, AfterValidator(_selector)]


class Resource(Body):
    """What a firewall is applied to."""

    type: Literal["server", "label_selector"]
    server: ServerId | None = None
    label_selector: Selector | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Resource":
        given = self.server if self.type == "server" else self.label_selector
        other = self.label_selector if self.type == "server" else self.server
        if given is None or other is not None:
            raise ValueError(f"type {self.type} needs {self.type} and nothing else")
        return self


RuleList = Annotated[list[Rule], Field(max_length=50)]


class NewFirewall(Body):
    """The body of POST /firewalls."""

    name: Name
    labels: LabelMap | None = None
    rules: RuleList | None = None
    apply_to: list[Resource] | None = None


class Rules(Body):
    """The body of set_rules."""

    rules: RuleList


class Apply(Body):
    """The body of apply_to_resources."""

    apply_to: Annotated[list[Resource], Field(min_length=1)]


class Remove(Body):
    """The body of remove_from_resources."""

    remove_from: Annotated[list[Resource], Field(min_length=1)]
