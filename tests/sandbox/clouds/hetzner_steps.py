"""Steps that several tests of the Hetzner service take, with the official client."""

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hcloud.images import Image
from hcloud.server_types import ServerType

Loose = Any
"""The official client and its objects: its types call every attribute optional, where the tests
know that it is there."""

UBUNTU = Image(name="ubuntu-24.04")
CPX22 = ServerType(name="cpx22")


def order_server(client: Loose, name: str = "alice", **more: Any) -> Loose:
    """Ask for a server; it is still being made."""
    return client.servers.create(**{"name": name, "server_type": CPX22, "image": UBUNTU} | more)


def make_server(client: Loose, name: str = "alice", **more: Any) -> Loose:
    """A server that is ready."""
    response = order_server(client, name, **more)
    for action in [response.action, *response.next_actions]:
        action.wait_until_finished()
    return client.servers.get_by_id(response.server.id)


def new_public_key() -> str:
    key = Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
