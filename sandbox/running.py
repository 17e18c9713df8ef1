"""What a running sandbox leaves in its directory for others to find it."""

from pathlib import Path

from pydantic import BaseModel, ValidationError

from sandbox.clouds.world import Credentials, World
from sandbox.processes import Identity, write_atomically

FILE = "sandbox.json"
RELEASE_FILE = "release.json"
GUEST_GATEWAY = "http://10.77.0.1:18080"
"""Where a machine reaches the clouds."""


class Server(BaseModel, frozen=True):
    """One of the sandbox's server processes."""

    port: int
    process: Identity


class Running(BaseModel, frozen=True):
    """A sandbox that serves. `reasons`: why its machines are "api-only" if nobody asked for it."""

    directory: Path
    supervisor: Identity
    clouds: Server
    edge: Server
    driver: str
    mail_port: int
    reasons: tuple[str, ...] = ()
    domain: str = World.domain

    @property
    def clouds_url(self) -> str:
        """The clouds' address, without a path."""
        return f"http://127.0.0.1:{self.clouds.port}"

    @property
    def admin_url(self) -> str:
        """Faults and introspection."""
        return f"{self.clouds_url}/admin"

    @property
    def mail_url(self) -> str:
        """A page with the letters that were sent."""
        return f"{self.clouds_url}/mail/"

    @property
    def instance_url(self) -> str:
        """An instance's address in a browser on this machine, with `{slug}` for its name."""
        alias = self.domain.rpartition(".")[0]
        return f"http://{{slug}}.{alias}.localhost:{self.edge.port}"

    def save(self) -> None:
        """Tell others that this sandbox serves."""
        write_atomically(self.directory / FILE, self.model_dump_json(indent=1))

    def environment(self) -> dict[str, str]:
        """What the product needs to use this sandbox as its outside world."""
        credentials = Credentials.load_or_make(self.directory / "credentials.json")
        release = self.directory / RELEASE_FILE
        found = {
            "HETZNER_API_TOKEN": credentials.hetzner_token,
            "HETZNER_ENDPOINT": f"{self.clouds_url}/v1",
            "HETZNER_POLL_INTERVAL": "100ms",
            "CLOUDFLARE_API_TOKEN": credentials.cloudflare_token,
            "CLOUDFLARE_BASE_URL": f"{self.clouds_url}/client/v4/",
            "CLOUDFLARE_ZONE_ID": credentials.cloudflare_zone_id,
            "ANTHROPIC_API_KEY": credentials.anthropic_key,
            "ANTHROPIC_BASE_URL": f"{self.clouds_url}/anthropic",
            "STRIPE_SECRET_KEY": credentials.stripe_secret_key,
            "STRIPE_WEBHOOK_SECRET": credentials.stripe_webhook_secret,
            "STRIPE_API_BASE": f"{self.clouds_url}/stripe",
            "STRIPE_PRICE_ID": "price_clawdet_monthly",
            "TWITTER_CLIENT_ID": credentials.twitter_client_id,
            "TWITTER_CLIENT_SECRET": credentials.twitter_client_secret,
            "X_AUTHORIZE_URL": f"{self.clouds_url}/x/i/oauth2/authorize",
            "X_API_BASE": f"{self.clouds_url}/x",
            "SMTP_URL": f"smtp://127.0.0.1:{self.mail_port}",
            "CLAWDET_DOMAIN": self.domain,
            "CLAWDET_INSTANCE_URL": self.instance_url,
            "CLAWDET_MODEL_BASE_URL": f"{GUEST_GATEWAY}/anthropic",
        }
        return found | ({"CLAWDET_RELEASE": str(release)} if release.exists() else {})


def find(directory: Path) -> Running | None:
    """The sandbox that serves in `directory`; None when there is none (a killed one included)."""
    try:
        found = Running.model_validate_json((directory / FILE).read_text())
    except (FileNotFoundError, ValidationError):
        return None
    return found if found.supervisor.alive() else None


def forget(directory: Path) -> None:
    """Take back what `Running.save` told."""
    (directory / FILE).unlink(missing_ok=True)
