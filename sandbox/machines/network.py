"""The machines' own network: a namespace with a bridge and guarded egress, none of the host's."""

import ipaddress
import json
import os
import socket
import subprocess
from pathlib import Path

from sandbox.machines.children import Children
from sandbox.machines.commands import run
from sandbox.machines.driver import MachineError
from sandbox.machines.netns import NetNamespace

PREFIX = "10.77.0"
GATEWAY = f"{PREFIX}.1"
CLOUDS_PORT = 18080
RESOLVER = "10.0.2.3"  # slirp4netns's built-in
MTU = 65520  # slirp4netns's largest: far fewer packets for a download

# Out: to the world through slirp4netns, never to this host's own addresses, its link-local
# neighbourhood (clouds' metadata services) or slirp4netns's network, but for the resolver.
# In: the relay's own connections; of what guests start, only the clouds' port.
RULES = """
table ip world {{
  chain nat {{
    type nat hook postrouting priority srcnat;
    oifname "tap0" masquerade
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    ip daddr {resolver} meta l4proto {{ tcp, udp }} th dport 53 accept
    ip daddr {{ {forbidden} }} reject
    iifname "br0" oifname "tap0" accept
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iifname "lo" accept
    ip protocol icmp accept
    iifname "br0" tcp dport {port} accept
    reject
  }}
}}
"""


class World:
    """The network of one sandbox's machines. Gone with this process, whatever ends it.

    `log` is the file for what slirp4netns says. Raises MachineError or OSError.
    """

    def __init__(self, children: Children, log: Path) -> None:
        self._namespace = NetNamespace()
        self._ip(
            "link set lo up",
            f"link add br0 mtu {MTU} type bridge forward_delay 0",
            f"address add {GATEWAY}/24 dev br0",
            "link set br0 up",
        )
        self._namespace.run(_forward_packets)
        rules = RULES.format(
            resolver=RESOLVER, port=CLOUDS_PORT, forbidden=", ".join(_forbidden_networks())
        )
        self._namespace.run(lambda: run("nft", "-f", "-", stdin=rules))
        self._slirp = self._start_slirp(children, log)

    def attach(self, index: int) -> NetNamespace:
        """A namespace for a machine, with eth0 at 10.77.0.`index` and a way out."""
        guest = NetNamespace()
        port = f"port{index}"
        self._ip(
            f"link add {port} mtu {MTU} type veth peer name eth0 mtu {MTU} netns {guest.path}",
            f"link set {port} master br0 up",
        )
        commands = (
            "link set lo up",
            f"address add {PREFIX}.{index}/24 dev eth0",
            "link set eth0 up",
            f"route add default via {GATEWAY}",
        )
        guest.run(lambda: run("ip", "-batch", "-", stdin="\n".join(commands) + "\n"))
        return guest

    def detach(self, index: int, guest: NetNamespace) -> None:
        """Cut a machine's cable and let its namespace go."""
        # 255: already gone, with the guest's end of it.
        self._namespace.run(lambda: run("ip", "link", "delete", f"port{index}", accept=(0, 1, 255)))
        guest.close()

    def dial(self) -> socket.socket:
        """An unconnected TCP socket inside."""
        return self._namespace.run(socket.socket)

    def listen(self, port: int) -> socket.socket:
        """A TCP socket that listens inside, at the gateway's address."""
        return self._namespace.run(lambda: socket.create_server((GATEWAY, port), backlog=128))

    def close(self) -> None:
        """End the egress and let the namespace go; every machine must be detached before."""
        self._slirp.kill()
        self._slirp.wait()
        self._namespace.close()

    def _ip(self, *commands: str) -> None:
        self._namespace.run(lambda: run("ip", "-batch", "-", stdin="\n".join(commands) + "\n"))

    def _start_slirp(self, children: Children, log: Path) -> "subprocess.Popen[bytes]":
        ready, ready_end = os.pipe()
        command = ["slirp4netns", "--configure", f"--mtu={MTU}", "--disable-host-loopback"]
        command += [f"--ready-fd={ready_end}", "--netns-type=path", self._namespace.path, "tap0"]
        try:
            with log.open("wb") as output:
                process = children.start(command, output, pass_fds=(ready_end,))
        finally:
            os.close(ready_end)
        with os.fdopen(ready, "rb") as pipe:
            if pipe.read(1) == b"1":
                return process
        process.kill()
        process.wait()
        raise MachineError(f"slirp4netns did not start: {log.read_text().strip()}")


def _forward_packets() -> None:
    """Switch on routing between the bridge and the way out, in the calling thread's namespace."""
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _forbidden_networks() -> list[str]:
    """Where guests may not go: this host's addresses, link-local ones, slirp4netns's network."""
    links = json.loads(run("ip", "-json", "-4", "address"))
    own = [f"{info['local']}/32" for link in links for info in link["addr_info"]]
    networks = map(ipaddress.IPv4Network, [*own, "127.0.0.0/8", "169.254.0.0/16", "10.0.2.0/24"])
    return [str(network) for network in ipaddress.collapse_addresses(networks)]
