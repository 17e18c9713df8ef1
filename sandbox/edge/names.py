"""The names by which a browser on this machine reaches the zone.

`*.localhost` is loopback in every browser, so `alice.clawdet.localhost:PORT` stands for
`alice.clawdet.com`. A site must see the world as it is behind the real edge: where one of the two
names appears in a header, it is translated on the way.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Visit:
    """Whom a browser asked for: `name` in the zone, and `authority` (host:port) as it wrote it."""

    name: str
    authority: str
    alias: bool
    """Whether the browser used the `.localhost` name."""


class Names:
    """Translates between the zone's names and their `.localhost` aliases."""

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self.alias = f"{domain.rpartition('.')[0]}.localhost"
        label = r"((?:[a-z0-9-]+\.)*)"
        self._alias_url = re.compile(rf"https?://{label}{re.escape(self.alias)}(?::\d+)?", re.I)
        self._real_url = re.compile(
            rf"https?://{label}{re.escape(domain)}(?::443)?(?![\w.-])", re.I
        )
        self._cookie_domain = re.compile(rf"(;\s*domain=\.?){re.escape(domain)}", re.I)

    def visit(self, authority: str) -> Visit | None:
        """Whom a Host header means; None when it is no name of the zone."""
        host = authority.rpartition(":")[0] if re.search(r":\d+$", authority) else authority
        host = host.lower().rstrip(".")
        if _within(host, self.domain):
            return Visit(host, authority, alias=False)
        if _within(host, self.alias):
            return Visit(host.removesuffix(self.alias) + self.domain, authority, alias=True)
        return None

    def to_origin(self, value: str) -> str:
        """A request header's value with aliases replaced by real https addresses."""
        return self._alias_url.sub(rf"https://\g<1>{self.domain}", value)

    def to_browser(self, value: str, visit: Visit) -> str:
        """A response header's value with real addresses replaced by aliases on `visit`'s port."""
        _, colon, port = visit.authority.rpartition(":")
        value = self._real_url.sub(
            rf"http://\g<1>{self.alias}{colon}{port if colon else ''}", value
        )
        return self._cookie_domain.sub(rf"\g<1>{self.alias}", value)


def _within(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")
