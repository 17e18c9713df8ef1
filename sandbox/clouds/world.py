"""What every company of the sandbox is given: memory, machines, credentials."""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, Field

from sandbox.clouds.store import Store
from sandbox.machines.driver import Machines


class Credentials(BaseModel):
    """What the sandbox's companies accept: made once per sandbox directory."""

    hetzner_token: str = Field(default_factory=lambda: secrets.token_hex(32))
    cloudflare_token: str = Field(default_factory=lambda: secrets.token_hex(20))
    cloudflare_zone_id: str = Field(default_factory=lambda: secrets.token_hex(16))
    anthropic_key: str = Field(default_factory=lambda: f"sk-ant-sandbox-{secrets.token_hex(16)}")
    stripe_secret_key: str = Field(default_factory=lambda: f"sk_test_{secrets.token_hex(24)}")
    stripe_webhook_secret: str = Field(default_factory=lambda: f"whsec_{secrets.token_hex(24)}")
    twitter_client_id: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    twitter_client_secret: str = Field(default_factory=lambda: secrets.token_urlsafe(36))

    @classmethod
    def load_or_make(cls, path: Path) -> "Credentials":
        """Read `path`; make what it lacks and keep it there (mode 0600)."""
        kept = json.loads(path.read_text()) if path.exists() else {}
        found = cls.model_validate(kept)
        if found.model_dump() != kept:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(found.model_dump_json(indent=1))
        return found


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
