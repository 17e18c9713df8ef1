"""The bodies of requests about servers."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from sandbox.clouds.hetzner.inputs import Body, Hostname, IdOrName, LabelMap

USER_DATA_BYTES = 32 * 1024


def _user_data(text: str) -> str:
    if len(text.encode()) > USER_DATA_BYTES:
        raise ValueError("must not be longer than 32 KiB")
    return text


UserData = Annotated[str, AfterValidator(_user_data)]


class FirewallRef(Body):
    """A firewall to apply from the start."""

    firewall: int


class PublicNet(Body):
    """Which public addresses a new server gets."""

    enable_ipv4: bool = True
    enable_ipv6: bool = True
    ipv4: int | None = None
    ipv6: int | None = None


class NewServer(Body):
    """The body of POST /servers."""

    name: Hostname
    server_type: IdOrName
    image: IdOrName
    location: IdOrName | None = None
    datacenter: IdOrName | None = None
    ssh_keys: list[IdOrName] | None = None
    user_data: UserData | None = None
    labels: LabelMap | None = None
    firewalls: list[FirewallRef] | None = None
    public_net: PublicNet | None = None
    start_after_create: bool | None = None
    automount: bool | None = None
    volumes: list[int] | None = None
    networks: list[int] | None = None
    placement_group: int | None = None


class ServerChange(Body):
    """The body of PUT /servers/ID."""

    name: Hostname | None = None
    labels: LabelMap | None = None


class ChangeType(Body):
    """The body of change_type."""

    server_type: IdOrName
    upgrade_disk: bool


class CreateImage(Body):
    """The body of create_image."""

    description: Annotated[str, Field(max_length=255)] | None = None
    type: Literal["snapshot", "backup"] | None = None
    labels: LabelMap | None = None


class Rebuild(Body):
    """The body of rebuild."""

    image: IdOrName
    user_data: UserData | None = None


class ServerProtection(Body):
    """The body of change_protection; the vendor wants both values alike."""

    delete: bool | None = None
    rebuild: bool | None = None
