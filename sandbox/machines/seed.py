"""What a new machine is told at its first boot: cloud-init's NoCloud seed."""

import json
from pathlib import Path

from sandbox.machines.driver import MachineSpec


def write(directory: Path, spec: MachineSpec) -> None:
    """Make `directory` the seed of a machine."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    metadata = {
        "instance-id": f"clawdet-{spec.id}",
        "local-hostname": spec.name,
        "public-keys": list(spec.ssh_keys),
    }
    (directory / "meta-data").write_text(json.dumps(metadata))  # JSON is YAML
    (directory / "user-data").write_text(spec.user_data or "#cloud-config\n{}\n")
