"""X's people: a few to begin with, and whoever signed in since."""

import hashlib
import re
from dataclasses import asdict, dataclass

from sandbox.clouds.store import Store

PERSON = "x.person"
FIRST = (("alice", "Alice Example"), ("bob_builder", "Bob Builder"), ("Carol_42", "Carol Sample"))
USERNAME = re.compile(r"[A-Za-z0-9_]{1,15}")
NAME_LENGTH = 50


class PersonError(Exception):
    """A username or a name that X would not have; the message says why."""


@dataclass(frozen=True)
class Person:
    """One account. The id stays when the username changes."""

    id: str
    username: str
    name: str


class People:
    """The accounts, kept in the store. Usernames are compared without case."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add_first(self) -> None:
        """Those who are there from the beginning, unless they are there already."""
        for username, name in FIRST:
            if not self.find(_id_of(username)):
                self.sign_in(username, name)

    def all(self) -> list[Person]:
        """Everybody, oldest account first."""
        return [Person(**document) for document in self._store.all(PERSON)]

    def find(self, id_: str) -> Person | None:
        """The person with an id."""
        document = self._store.get(PERSON, id_)
        return Person(**document) if document else None

    def sign_in(self, username: str, name: str = "") -> Person:
        """The person of that username, made if there is none; `name` becomes the display name.

        The same username has the same id in every sandbox. Raises PersonError.
        """
        with self._store.transaction():
            person = self._by_username(username)
            if person is None:
                _check(username, name or username)
                return self._put(Person(self._free_id(username), username, name or username))
            return self.rename(person.id, name=name) if name else person

    def rename(self, id_: str, username: str = "", name: str = "") -> Person:
        """Give somebody another username or display name; empty: as it was. Raises PersonError."""
        with self._store.transaction():
            person = self.find(id_)
            if person is None:
                raise PersonError(f"there is nobody with the id {id_}")
            changed = Person(id_, username or person.username, name or person.name)
            _check(changed.username, changed.name)
            other = self._by_username(changed.username)
            if other and other.id != id_:
                raise PersonError(f"{other.username} is somebody else's username")
            return self._put(changed)

    def _by_username(self, username: str) -> Person | None:
        wanted = username.lower()
        return next((person for person in self.all() if person.username.lower() == wanted), None)

    def _free_id(self, username: str) -> str:
        """Whoever had the username before keeps their id, so a newcomer gets another one."""
        count = 0
        while self.find(_id_of(username, count)):
            count += 1
        return _id_of(username, count)

    def _put(self, person: Person) -> Person:
        self._store.put(PERSON, person.id, asdict(person))
        return person


def _id_of(username: str, count: int = 0) -> str:
    """19 digits, as X's newer ids have; fits into 63 bits."""
    digest = hashlib.sha256(f"{username.lower()}/{count}".encode()).digest()
    return str(10**18 + int.from_bytes(digest[:8]) % (8 * 10**18))


def _check(username: str, name: str) -> None:
    if not USERNAME.fullmatch(username):
        raise PersonError("a username has 1 to 15 letters, digits and underscores")
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise PersonError(f"a display name is one line of up to {NAME_LENGTH} characters")
