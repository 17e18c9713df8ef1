"""The install on the server: remote commands over SSH, step by step, each idempotent."""

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_cloudflare as cloudflare
import pulumi_command as command
import pulumi_hcloud as hcloud

from infra.config import InstanceConfig

SCRIPTS = "/opt/clawdet/install"
ARCHIVE = "/root/clawdet-install.tar.gz"

REACHABLE_S = 180  # a new server answers on port 22 in 10 to 60 s; three times that

# Waits until the server shows a host key and compares it with ours before anything dials:
# an SSH client that retries would otherwise hide a wrong key behind "unreachable".
AWAIT_HOST_KEY = f"""
end=$(( $(date +%s) + {REACHABLE_S} ))
while [ "$(date +%s)" -lt "$end" ]; do
  seen=$(ssh-keyscan -T 3 -t ed25519 "$HOST" 2>/dev/null | cut -d' ' -f2-3)
  [ "$seen" = "$HOST_KEY" ] && exit 0
  if [ -n "$seen" ]; then
    echo "host key mismatch: $HOST shows '$seen', not this instance's key; another machine" \\
      "answers at that address. Look at the server in the cloud's console before you go on." >&2
    exit 1
  fi
  sleep 0.3
done
echo "no SSH at $HOST within {REACHABLE_S} s: is the server running? Run up again to go on." >&2
exit 1
"""

UNPACK = f"rm -rf {SCRIPTS} && mkdir -p {SCRIPTS} && tar -xzf {ARCHIVE} -C {SCRIPTS}"


@dataclass(frozen=True)
class Step:
    """One script of cloud-init/install: what it waits for, how long it may take on the server."""

    name: str
    script: str
    after: tuple[str, ...]
    limit_s: int


# Limits are about ten times what each step took by hand on two busy cores.
STEPS = (
    Step("prepare", "10-prepare.sh", ("files",), 300),
    Step("node", "20-node.sh", ("prepare",), 180),
    Step("openclaw", "30-openclaw.sh", ("node",), 600),
    Step("caddy", "40-caddy.sh", ("prepare",), 180),
    Step("configure", "50-configure.sh", ("openclaw", "caddy"), 120),
    Step("start", "60-start.sh", ("configure",), 240),
    Step("verify", "70-verify.sh", ("start",), 120),
)


class Install(pulumi.ComponentResource):
    """The install steps as resources, so that a failed one is where the next `up` goes on."""

    def __init__(
        self,
        name: str,
        config: InstanceConfig,
        server: hcloud.Server,
        certificate: cloudflare.OriginCaCertificate,
        parent: pulumi.Resource,
    ) -> None:
        super().__init__("clawdet:index:Install", name, opts=pulumi.ResourceOptions(parent=parent))
        self._config = config
        self._server = server
        self._certificate = certificate
        self._connection = command.remote.ConnectionArgs(
            host=server.ipv4_address,
            user="root",
            private_key=config.secret("ssh_private_key"),
            host_key=config.host_public_key,
            dial_error_limit=10,
            per_dial_timeout=15,
        )
        # A new server, or a new set of scripts, runs every step again.
        self._triggers = [server.id, config.install_digest]
        done: dict[str, pulumi.Resource] = {"files": self._files(self._reachable())}
        for step in STEPS:
            done[step.name] = self._step(step, [done[before] for before in step.after])
        self.register_outputs({})

    def _reachable(self) -> command.local.Command:
        return command.local.Command(
            "reachable",
            create=AWAIT_HOST_KEY,
            interpreter=["/bin/sh", "-c"],
            environment={
                "HOST": self._server.ipv4_address,
                "HOST_KEY": self._config.host_public_key,
            },
            triggers=[self._server.id],
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _files(self, reachable: pulumi.Resource) -> command.remote.CopyToRemote:
        return command.remote.CopyToRemote(
            "files",
            connection=self._connection,
            source=pulumi.FileAsset(self._config.install_archive),
            remote_path=ARCHIVE,
            triggers=self._triggers,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[reachable]),
        )

    def _step(self, step: Step, after: list[pulumi.Resource]) -> command.remote.Command:
        run = f"timeout -k 5 {step.limit_s} bash {SCRIPTS}/{step.script}"
        return command.remote.Command(
            step.name,
            connection=self._connection,
            create=f"{UNPACK} && {run}" if step.name == "prepare" else run,
            # Over stdin: an argument would show in the server's process list and in errors.
            stdin=pulumi.Output.json_dumps(self._document()),
            triggers=self._triggers,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=after,
                custom_timeouts=pulumi.CustomTimeouts(create=f"{step.limit_s + 120}s"),
            ),
        )

    def _document(self) -> dict[str, Any]:
        """What every step reads on its standard input (cloud-init/install/parameters.py)."""
        config = self._config
        return {
            "slug": config.slug,
            "domain": config.domain,
            "hostname": config.hostname,
            "release": config.release,
            "gateway_token": config.secret("gateway_token"),
            "anthropic_api_key": config.secret("anthropic_api_key"),
            "model_base_url": config.model_base_url,
            "origin_certificate": self._certificate.certificate,
            "origin_key": config.secret("origin_key"),
        }
