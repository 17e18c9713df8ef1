"""The web app's settings, read once from the environment; docs/settings.md lists them."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from webapp.errors import Invalid, SettingsError
from webapp.mail.addresses import check_address

STATE = Path(__file__).resolve().parent.parent / ".clawdet"

REQUIRED = (
    "anthropic_api_key",
    "stripe_secret_key",
    "stripe_webhook_secret",
    "stripe_price_id",
    "twitter_client_id",
    "twitter_client_secret",
    "clawdet_secret_key",
    "clawdet_encryption_keys",
)


class WebSettings(BaseSettings):
    """Keys, endpoints, allowances and delays. Every field is an environment variable of its name.

    Delays are days where the name ends in `_days`, seconds where it ends in `_s`.
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    # Ourselves
    clawdet_web_url: str = "http://localhost:8000"
    clawdet_domain: str = "clawdet.com"
    clawdet_instance_url: str = "https://{slug}.{domain}"
    clawdet_database_url: str = f"sqlite:///{STATE / 'clawdet.sqlite3'}"
    clawdet_secret_key: SecretStr = SecretStr("")
    clawdet_encryption_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    clawdet_trusted_proxies: int = Field(default=0, ge=0)
    clawdet_rate_limit_storage: str = "memory://"
    clawdet_support_email: str = "help@clawdet.com"
    clawdet_operators: Annotated[tuple[str, ...], NoDecode] = ()
    clawdet_metrics_token: SecretStr = SecretStr("")
    clawdet_adapter_timeout_s: float = Field(default=15.0, gt=0)

    # The companies
    anthropic_api_key: SecretStr = SecretStr("")
    anthropic_base_url: str = "https://api.anthropic.com"
    stripe_secret_key: SecretStr = SecretStr("")
    stripe_webhook_secret: SecretStr = SecretStr("")
    stripe_price_id: str = ""
    stripe_api_base: str = "https://api.stripe.com"
    stripe_automatic_tax: bool = False
    twitter_client_id: str = ""
    twitter_client_secret: SecretStr = SecretStr("")
    x_authorize_url: str = "https://x.com/i/oauth2/authorize"
    x_api_base: str = "https://api.x.com"
    smtp_url: str = "smtp://127.0.0.1:25"
    mail_from: str = "Clawdet <hello@clawdet.com>"

    # Sign-in and trial
    clawdet_session_days: float = Field(default=7, gt=0)
    clawdet_sign_in_limit: str = "5 per minute"
    clawdet_trial_limit: str = "10 per minute"
    clawdet_trial_messages: int = Field(default=5, ge=0)
    clawdet_trial_messages_per_ip_a_day: int = Field(default=25, ge=0)
    clawdet_trial_model: str = "claude-sonnet-4-6"
    clawdet_trial_budget_usd_a_day: float = Field(default=20.0, ge=0)
    clawdet_trial_max_tokens: int = Field(default=600, gt=0)

    # Instances and money
    clawdet_past_due_days: float = Field(default=7, ge=0)
    clawdet_suspended_days: float = Field(default=14, ge=0)
    clawdet_backup_days: float = Field(default=30, ge=0)
    clawdet_live_deadline_s: float = Field(default=1800, gt=0)
    clawdet_refund_deadline_s: float = Field(default=86400, gt=0)
    clawdet_sweep_s: float = Field(default=60, gt=0)
    clawdet_drift_sweep_s: float = Field(default=900, gt=0)

    @field_validator("clawdet_encryption_keys", "clawdet_operators", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("clawdet_encryption_keys")
    @classmethod
    def _are_fernet_keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in keys:
            try:
                Fernet(key.get_secret_value())
            except ValueError as error:
                raise ValueError("each must be 32 bytes in URL-safe base64") from error
        return keys

    @field_validator("clawdet_web_url")
    @classmethod
    def _is_an_origin(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/"):
            raise ValueError("must be like https://clawdet.com")
        return url.rstrip("/")

    @field_validator("clawdet_support_email")
    @classmethod
    def _is_an_address(cls, address: str) -> str:
        try:
            check_address(address)
        except Invalid as error:
            raise ValueError("must be an e-mail address") from error
        return address

    @property
    def is_https(self) -> bool:
        """Whether people reach us by TLS; cookies are Secure then."""
        return self.clawdet_web_url.startswith("https://")

    @property
    def session_lifetime(self) -> timedelta:
        """How long a sign-in lasts."""
        return timedelta(days=self.clawdet_session_days)

    def url(self, path: str) -> str:
        """The public address of one of our paths."""
        return self.clawdet_web_url + path

    def instance_url(self, slug: str) -> str:
        """Where an instance answers, without a trailing slash."""
        return self.clawdet_instance_url.format(slug=slug, domain=self.clawdet_domain).rstrip("/")

    @classmethod
    def read(cls) -> "WebSettings":
        """Read the environment; SettingsError names all that is missing or does not parse."""
        try:
            found = cls()
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()
            )
            raise SettingsError(f"settings: {wrong}. See docs/settings.md.") from error
        missing = [name.upper() for name in REQUIRED if not _text(getattr(found, name))]
        if missing:
            raise SettingsError(
                f"not set: {', '.join(missing)}. Set them in the environment (docs/settings.md), "
                "or use `make run`, which makes what is ours and brings a sandbox."
            )
        return found


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_text, value))
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
