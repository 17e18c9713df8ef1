"""An instance's name: the `alice` of alice.clawdet.com."""

import re
from itertools import count

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.accounts.models import User
from webapp.instances.models import Instance

# What the stacks take, too: a DNS label (RFC 1035) that leaves room for what is put around it.
MAX_LENGTH = 40
SLUG = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
FALLBACK = "cadet"
"""For an X username without a letter or digit."""

# Names of ours under the domain, those that mail and certificates expect (RFC 2142), and those
# that somebody could pass off as ours.
RESERVED = frozenset(
    """
    www www1 www2 web api app apps admin administrator root console dashboard panel fleet portal
    account accounts auth login logout signin signup sso oauth id billing pay payment payments
    checkout invoice invoices shop store pricing plans order orders refund refunds
    mail email smtp imap pop pop3 mx webmail postmaster hostmaster webmaster abuse noc security
    autoconfig autodiscover mta-sts dmarc spf
    ns ns1 ns2 ns3 ns4 dns whois ftp sftp ssh vpn proxy gateway edge cdn static assets media images
    img files download downloads upload uploads
    status health metrics monitor monitoring grafana prometheus alerts logs
    help support contact docs doc blog news press about jobs careers legal terms privacy team
    dev development staging stage test testing demo sandbox preview beta alpha canary internal
    local localhost localdomain example invalid wpad isatap
    clawdet openclaw clawd anthropic claude hetzner cloudflare stripe pulumi platform official
    user users system server servers host hosting cloud worker webhooks webhook hooks git registry
    """.split()  # noqa: SIM905 (a list of names reads best as words)
)


def slug_problem(slug: str) -> str | None:
    """Why a name cannot be anybody's, for the person who typed it; None when it can."""
    if not slug:
        return "Choose a name."
    if len(slug) > MAX_LENGTH:
        return f"Use at most {MAX_LENGTH} characters."
    if not SLUG.fullmatch(slug):
        return "Use a to z, 0 to 9 and hyphens; a hyphen neither first nor last."
    if "--" in slug:  # RFC 5890 keeps a label's third and fourth for itself; two never read well
        return "Use one hyphen at a time."
    if slug in RESERVED:
        return "This name is kept for Clawdet itself. Choose another one."
    return None


def make_slug(x_username: str) -> str:
    """A well-formed name of an X username: lower case, `_` to `-`. It may be taken or reserved."""
    words = re.findall(r"[a-z0-9]+", x_username.lower())
    return "-".join(words)[:MAX_LENGTH].strip("-") or FALLBACK


def is_free(session: Session, slug: str, user_id: str | None = None) -> bool:
    """Whether no instance has the name and nobody has chosen it, `user_id` not counted."""
    instances = select(Instance.user_id).where(Instance.slug == slug, Instance.status != "deleted")
    choices = select(User.id).where(User.slug == slug, User.deleted_at.is_(None))
    holders = set(session.scalars(instances.union_all(choices)))
    return not holders - {user_id}


def suggest(session: Session, x_username: str, user_id: str | None = None) -> str:
    """The first name after an X username that is allowed and free: alice, alice-2, alice-3, …"""
    base = make_slug(x_username)
    for number in count(1):
        suffix = "" if number == 1 else f"-{number}"
        slug = base[: MAX_LENGTH - len(suffix)].rstrip("-") + suffix
        if slug_problem(slug) is None and is_free(session, slug, user_id):
            return slug
    raise AssertionError("count() does not end")
