"""What every company of the sandbox is given: memory, machines, credentials."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from sandbox.clouds.store import Store
from sandbox.machines.driver import Machines


class Credentials(BaseModel):
    """What the sandbox's companies accept: made once per sandbox directory."""

    hetzner_token: str
    cloudflare_token: str
    cloudflare_zone_id: str
    anthropic_key: str

    @classmethod
    def load_or_make(cls, path: Path) -> "Credentials":
        """Read `path`, or make new credentials and keep them there (mode 0600)."""
        if path.exists():
            return cls.model_validate_json(path.read_text())
        made = cls(
            hetzner_token=secrets.token_hex(32),
            cloudflare_token=secrets.token_hex(20),
            cloudflare_zone_id=secrets.token_hex(16),
            anthropic_key=f"sk-ant-sandbox-{secrets.token_hex(16)}",
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(made.model_dump_json(indent=1))
        return made


@dataclass(frozen=True)
class World:
    """What every company's blueprint is given."""

    store: Store
    machines: Machines
    credentials: Credentials
    directory: Path
    domain: str = "clawdet.com"
    action_seconds: float = field(default=0.0)
    """How long a cloud action runs at least; 0: as long as its work takes."""
