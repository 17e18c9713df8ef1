"""The letters that arrived: read out of their bytes, kept in the store, the newest 1,000."""

import html
import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage

from pydantic import BaseModel, ConfigDict

from sandbox.clouds.store import Store

LETTER = "mail.letter"
SETTING = "mail.setting"
KEPT = 1000
URL = re.compile(r"https?://[^\s<>\"']+")
PUNCTUATION = ".,;:!?)]}'"
"""What ends a sentence, not a URL."""


class Letter(BaseModel):
    """One letter. `to` and `sender` are the envelope's; `received` is in ISO 8601, UTC."""

    model_config = ConfigDict(frozen=True)

    id: int = 0
    to: list[str]
    sender: str
    subject: str
    text: str
    html: str
    headers: list[tuple[str, str]]
    received: str

    def links(self) -> list[str]:
        """The URLs of the text part, of the HTML part where there is no text, each once."""
        found = URL.findall(self.text or html.unescape(self.html))
        return list(dict.fromkeys(url.rstrip(PUNCTUATION) for url in found))

    def body(self) -> dict[str, object]:
        """The letter as the JSON API shows it."""
        shown = self.model_dump(exclude={"sender", "headers"})
        return {**shown, "from": self.sender, "links": self.links()}


class Letters:
    """The letters of a sandbox, and whether new ones are refused. Safe to use from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, letter: Letter) -> None:
        """Keep a letter, with an id of its own, and drop the one that is too many."""
        with self._store.transaction():
            id_ = self._store.next_id(LETTER, first=1)
            kept = letter.model_copy(update={"id": id_})
            self._store.put(LETTER, id_, kept.model_dump())
            self._store.delete(LETTER, id_ - KEPT)

    def newest_first(self, to: str = "") -> list[Letter]:
        """All letters, or those to one address (compared without case)."""
        letters = [Letter.model_validate(body) for body in self._store.all(LETTER)]
        wanted = to.lower()
        if wanted:
            letters = [one for one in letters if wanted in map(str.lower, one.to)]
        return letters[::-1]

    def find(self, id_: int) -> Letter | None:
        """The letter with an id."""
        body = self._store.get(LETTER, id_)
        return Letter.model_validate(body) if body else None

    def clear(self) -> None:
        """Forget every letter."""
        with self._store.transaction():
            for letter in self._store.all(LETTER):
                self._store.delete(LETTER, letter["id"])

    def refused(self) -> bool:
        """Whether the server answers 451 to every letter."""
        setting = self._store.get(SETTING, "refuse")
        return bool(setting and setting["refuse"])

    def refuse(self, refuse: bool) -> None:
        """Refuse letters from now on, or take them again."""
        self._store.put(SETTING, "refuse", {"refuse": refuse})


def read(sender: str, to: list[str], raw: bytes) -> Letter:
    """A letter as it came over SMTP; what cannot be decoded is shown as far as it can be."""
    message = message_from_bytes(raw, policy=policy.default)
    headers = [(name, _clean(str(value))) for name, value in message.items()]
    return Letter(
        to=[_clean(address) for address in to],
        sender=_clean(sender),
        subject=_clean(str(message.get("Subject", ""))),
        text=_part(message, "plain"),
        html=_part(message, "html"),
        headers=headers,
        received=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    if part is None:
        return ""
    try:
        return _clean(str(part.get_content()))
    except LookupError:  # a charset that nobody knows
        return _clean(bytes(part.get_payload(decode=True)).decode(errors="replace"))


def _clean(text: str) -> str:
    """Text that can be encoded: bytes that were no characters become question marks."""
    return text.encode(errors="replace").decode().replace("\r\n", "\n")
