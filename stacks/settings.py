"""Settings, read once from the environment; docs/settings.md lists them (a test compares)."""

from pathlib import Path
from typing import Annotated

import psutil
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from stacks.errors import UsageError

CHECKOUT = Path(__file__).resolve().parent.parent
STATE = CHECKOUT / ".clawdet"

# The costliest way, a process of `python -m stacks` for each, took 294 with eight at once; the
# threads of one process that shares provider servers take under 100 each (docs/performance.md).
MB_PER_OPERATION = 320
MB_RESERVED = 1024  # for the system, the web app and the sandbox's clouds


def operations_that_fit() -> int:
    """How many operations this machine's memory carries at once: 1 to 16."""
    total_mb = psutil.virtual_memory().total // 2**20
    return max(1, min(16, (total_mb - MB_RESERVED) // MB_PER_OPERATION))


class Settings(BaseSettings):
    """Credentials, endpoints and places. Every field is an environment variable of that name."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    hetzner_api_token: SecretStr = SecretStr("")
    hetzner_endpoint: str = "https://api.hetzner.cloud/v1"
    hetzner_poll_interval: str = "500ms"
    cloudflare_api_token: SecretStr = SecretStr("")
    cloudflare_base_url: str = "https://api.cloudflare.com/client/v4/"
    cloudflare_zone_id: str = ""
    anthropic_api_key: SecretStr = SecretStr("")
    pulumi_config_passphrase: SecretStr = SecretStr("")
    pulumi_config_passphrase_file: Path | None = None
    pulumi_backend_url: str = ""
    pulumi_debug_providers: str = ""
    pulumi_home: Path = STATE / "pulumi"
    clawdet_project: Path = CHECKOUT
    clawdet_domain: str = "clawdet.com"
    clawdet_instance_url: str = "https://{slug}.{domain}"
    clawdet_model_base_url: str = ""
    clawdet_release: Path = CHECKOUT / "cloud-init" / "release.json"
    clawdet_locations: Annotated[tuple[str, ...], NoDecode] = ("hel1", "fsn1", "nbg1")
    clawdet_server_type: str = "cpx22"
    clawdet_image: str = "ubuntu-24.04"
    clawdet_max_operations: int = Field(default_factory=operations_that_fit, ge=1)
    clawdet_cloud_timeout_s: float = Field(default=15.0, gt=0)

    @field_validator("clawdet_locations", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    def passphrase(self) -> str:
        """What encrypts the stacks' secrets: the variable, else the file; else UsageError."""
        if text := self.pulumi_config_passphrase.get_secret_value():
            return text
        file = self.pulumi_config_passphrase_file
        try:
            text = file.read_text().strip() if file else ""
        except OSError as error:
            raise UsageError(
                f"PULUMI_CONFIG_PASSPHRASE_FILE: {error}", "name a readable file"
            ) from error
        if not text:
            raise UsageError(
                "not set: PULUMI_CONFIG_PASSPHRASE (or PULUMI_CONFIG_PASSPHRASE_FILE)",
                "set the one that your stacks were made with; for a first one: "
                'eval "$(python -m stacks env)"',
            )
        return text

    @property
    def state_dir(self) -> Path:
        """Where this project keeps locks, records and stack settings files."""
        return self.clawdet_project / ".clawdet"

    @property
    def backend_url(self) -> str:
        """Where Pulumi keeps state: `pulumi_backend_url`, by default files beside the project."""
        return self.pulumi_backend_url or f"file://{self.state_dir / 'state'}"

    def instance_url(self, slug: str) -> str:
        """Where an instance answers, without a trailing slash."""
        return self.clawdet_instance_url.format(slug=slug, domain=self.clawdet_domain).rstrip("/")

    def require(self, *names: str) -> None:
        """Raise UsageError naming every one of these settings that is empty."""
        missing = [name.upper() for name in names if not _text(getattr(self, name))]
        if missing:
            raise UsageError(
                f"not set: {', '.join(missing)}",
                "set them in the environment (docs/settings.md); for the sandbox's values: "
                'eval "$(python -m sandbox env)"',
            )

    @classmethod
    def read(cls) -> "Settings":
        """Read the environment; UsageError names what does not parse."""
        try:
            return cls()
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()
            )
            raise UsageError(f"settings: {wrong}", "see docs/settings.md") from error


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
