"""What we ask the clouds ourselves: stock, leftovers, listings. Changes belong to the engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cloudflare
import hcloud
from cloudflare.types.dns import RecordResponse
from hcloud.servers import BoundServer

from stacks.errors import NoCapacity, OperationFailed, Refused, UsageError
from stacks.settings import Settings

RECORDS_PER_PAGE = 1000  # Cloudflare allows more; a page stays below a megabyte

MANAGED = {"managed-by": "clawdet"}
COMMENT = "clawdet instance "


@dataclass(frozen=True)
class Leftover:
    """Something that exists in a cloud under an instance's name. `kind`: server, record, …"""

    kind: str
    id: str
    name: str


class Clouds:
    """Hetzner and Cloudflare for one instance's questions; their errors become ours."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._hetzner = hetzner_client(settings)

    @property
    def domain(self) -> str:
        """Instances' names are directly below it."""
        return self._settings.clawdet_domain

    def stock(self, server_type: str, wanted: tuple[str, ...]) -> dict[str, bool]:
        """Whether each of `wanted`, locations, has the type now. UsageError for no such type."""
        with hetzner_errors():
            found = self._hetzner.server_types.get_by_name(server_type)
        if found is None:
            raise UsageError(
                f"Hetzner has no server type {server_type!r}",
                "set CLAWDET_SERVER_TYPE to one it sells, e.g. cpx22",
            )
        stocked = {entry.location.name for entry in found.locations or [] if entry.available}
        return {name: name in stocked for name in wanted}

    def locations_in_stock(self, server_type: str, wanted: tuple[str, ...]) -> list[str]:
        """Those of `wanted` that have the type now, in that order. NoCapacity if none has."""
        usable = [name for name, has in self.stock(server_type, wanted).items() if has]
        if not usable:
            raise NoCapacity(
                f"no {server_type} in stock in {', '.join(wanted)}",
                "try again later, or add locations to CLAWDET_LOCATIONS",
            )
        return usable

    def servers(self, slug: str) -> list[Leftover]:
        """Servers that carry the instance's labels (infra.instance writes them)."""
        with hetzner_errors():
            servers = self._hetzner.servers.get_all(label_selector=selector(labels_of(slug)))
        return [Leftover("server", str(s.id), s.name or "") for s in servers]

    def all_servers(self) -> list[BoundServer]:
        """Every server of the Hetzner project, ours or not; 50 per request."""
        with hetzner_errors():
            return list(self._hetzner.servers.get_all())

    def all_records(self) -> list[RecordResponse]:
        """Every DNS record of the zone, ours or not."""
        with cloudflare_errors(), self._cloudflare() as client:
            return list(
                client.dns.records.list(
                    zone_id=self._settings.cloudflare_zone_id, per_page=RECORDS_PER_PAGE
                )
            )

    def records(self, slug: str) -> list[Leftover]:
        """DNS records of the instance's name that carry our comment."""
        return [
            Leftover("record", record.id, record.name or "")
            for record in self._records(slug)
            if (record.comment or "") == comment_of(slug)
        ]

    def check_name_is_free(self, slug: str) -> None:
        """OperationFailed if the instance's name has an address record that is not ours.

        Cloudflare would let ours stand beside it, and send every other visitor to a stranger.
        """
        for record in self._records(slug):
            addresses = record.type in ("A", "AAAA", "CNAME")
            if addresses and (record.comment or "") != comment_of(slug):
                raise OperationFailed(
                    f"{record.name} has a DNS record that is not ours: "
                    f"{record.type} {record.content}",
                    "delete it in Cloudflare's dashboard, or choose another name for the stack",
                    step="record",
                )

    def _records(self, slug: str) -> list[RecordResponse]:
        name = f"{slug}.{self._settings.clawdet_domain}"
        with cloudflare_errors(), self._cloudflare() as client:
            return list(
                client.dns.records.list(
                    zone_id=self._settings.cloudflare_zone_id, name={"exact": name}
                )
            )

    def certificates(self, slug: str) -> list[Leftover]:
        """Origin certificates that are valid for the instance's name and not revoked."""
        name = f"{slug}.{self._settings.clawdet_domain}"
        with cloudflare_errors(), self._cloudflare() as client:
            found = client.origin_ca_certificates.list(zone_id=self._settings.cloudflare_zone_id)
            return [
                Leftover("certificate", str(c.id), name)
                for c in found
                if c.hostnames == [name] and getattr(c, "revoked_at", None) is None
            ]

    def revoke(self, certificate_id: str) -> None:
        """Revoke an origin certificate."""
        with cloudflare_errors(), self._cloudflare() as client:
            client.origin_ca_certificates.delete(certificate_id)

    def leftovers(self, slug: str) -> list[Leftover]:
        """Everything that exists for the instance now: what `destroy` must bring to nothing."""
        return [*self.servers(slug), *self.records(slug), *self.certificates(slug)]

    def _cloudflare(self) -> cloudflare.Cloudflare:
        return cloudflare.Cloudflare(
            api_token=self._settings.cloudflare_api_token.get_secret_value(),
            base_url=self._settings.cloudflare_base_url,
            timeout=self._settings.clawdet_cloud_timeout_s,
        )


def labels_of(slug: str) -> dict[str, str]:
    """The labels of an instance's server (infra.instance writes them)."""
    return {**MANAGED, "instance": slug}


def selector(labels: dict[str, str]) -> str:
    """Hetzner's label selector for what carries all of these."""
    return ",".join(f"{key}=={value}" for key, value in labels.items())


def comment_of(slug: str) -> str:
    """The comment of an instance's DNS record (infra.instance writes it)."""
    return f"{COMMENT}{slug}"


def hetzner_client(settings: Settings) -> hcloud.Client:
    """A client of Hetzner's API under these settings."""
    return hcloud.Client(
        token=settings.hetzner_api_token.get_secret_value(),
        api_endpoint=settings.hetzner_endpoint,
        application_name="clawdet",
        timeout=settings.clawdet_cloud_timeout_s,
    )


@contextmanager
def hetzner_errors() -> Iterator[None]:
    """Turn the Hetzner client's errors into ours."""
    try:
        yield
    except hcloud.APIException as error:
        if error.code in ("unauthorized", "forbidden"):
            raise Refused(
                f"Hetzner refused the token: {error.message}", "check HETZNER_API_TOKEN"
            ) from error
        raise OperationFailed(
            f"Hetzner: {error.message} ({error.code})", "try again later"
        ) from error
    except hcloud.HCloudException as error:  # an action that failed or took too long
        raise OperationFailed(f"Hetzner: {error}", "look at it in Hetzner's console") from error
    except OSError as error:
        raise OperationFailed(
            f"Hetzner can't be reached: {_cause(error)}", "check HETZNER_ENDPOINT and the network"
        ) from error


@contextmanager
def cloudflare_errors() -> Iterator[None]:
    """Turn the Cloudflare client's errors into ours."""
    try:
        yield
    except (cloudflare.AuthenticationError, cloudflare.PermissionDeniedError) as error:
        raise Refused(
            f"Cloudflare refused the token: {_said(error)}", "check CLOUDFLARE_API_TOKEN"
        ) from error
    except cloudflare.APIStatusError as error:
        raise OperationFailed(
            f"Cloudflare: {_said(error)}",
            "check CLOUDFLARE_API_TOKEN and CLOUDFLARE_ZONE_ID; if they are right, try again later",
        ) from error
    except cloudflare.APIError as error:
        raise OperationFailed(
            f"Cloudflare can't be reached: {_cause(error)}",
            "check CLOUDFLARE_BASE_URL and the network",
        ) from error


def _said(error: cloudflare.APIStatusError) -> str:
    """What Cloudflare says in its error body, e.g. "Authentication error (10000)"."""
    body = error.body if isinstance(error.body, dict) else {}
    told = [f"{e.get('message')} ({e.get('code')})" for e in body.get("errors") or []]
    return "; ".join(told) or f"HTTP {error.status_code}"


def _cause(error: BaseException) -> str:
    """The innermost reason, e.g. "Connection refused": clients wrap it many times."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
