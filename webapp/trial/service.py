"""The trial chat: a message in, an answer out, within the allowances."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.orm import Session

from webapp.adapters.turns import Turn
from webapp.database import Database
from webapp.errors import Invalid, Unavailable
from webapp.settings import WebSettings
from webapp.trial import allowance, prices, visits
from webapp.trial.allowance import Reservation
from webapp.trial.models import ChatMessage, TrialVisit

if TYPE_CHECKING:
    from webapp.adapters.model import Answer, Model

LONGEST = 2000
"""Characters of a message."""

SYSTEM = """You are Cadet, a personal assistant made with OpenClaw and offered by Clawdet, where
everybody can have one of their own on a server of its own. You are talking to a visitor who tries
you out in a handful of free messages, in a small chat window. Be useful at once: answer what was
asked, briefly and concretely, in the visitor's language, in plain text without Markdown. Here you
have no tools, no memory beyond this conversation and no access to anything of the visitor's; say so
when it matters. Speak about Clawdet only when asked, and only what you know from here."""

NOT_COUNTED = "Your message was not counted."

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Visitor:
    """Who asks: the cookie's token, the network as it is counted, and the account, if any."""

    token: str
    ip_hash: str
    user_id: str | None


class Reply:
    """An answer as it is written. Iterate it once, and close it whatever happens.

    Closed before its end (the visitor has gone), the message counts and is kept as far as it came.
    """

    def __init__(self, chat: "Chat", answer: "Answer", taken: Reservation, question: str) -> None:
        self._chat = chat
        self._answer = answer
        self._taken = taken
        self._question = question
        self._is_settled = False
        self.text = ""

    def __iter__(self) -> Iterator[str]:
        """Pieces of text. Raises Unavailable where the model fails; the message is given back."""
        try:
            for piece in self._answer:
                self.text += piece
                yield piece
            if not self.text.strip():
                raise Unavailable("The assistant had nothing to say.", "Ask it in other words.")
        except Unavailable as error:
            self._fail()
            raise _not_counted(error) from error
        self._keep(self._chat.cost(self._answer))

    def close(self) -> None:
        """Hang up, and settle what is not settled."""
        self._answer.close()
        if not self._is_settled:
            log.info("trial_visitor_gone")
            self._keep(self._taken.micro_usd)

    def remaining(self) -> int:
        """Messages that are left now."""
        return self._chat.remaining(self._taken.visit_id)

    def _keep(self, micro_usd: int) -> None:
        self._is_settled = True
        with self._chat.db.begin() as session:
            allowance.correct(session, self._taken, micro_usd)
            if self.text.strip():
                _add(session, self._taken.visit_id, self._question, self.text)

    def _fail(self) -> None:
        """What it has cost so far is not known; what it may have cost at most is kept as spent."""
        self._is_settled = True
        with self._chat.db.begin() as session:
            allowance.give_back(session, self._taken, self._taken.micro_usd)


@dataclass(frozen=True)
class Chat:
    """What answering takes."""

    db: Database
    model: "Model"
    settings: WebSettings

    def ask(self, visitor: Visitor, text: str, at: datetime) -> Reply:
        """Begin the answer to a message.

        Raises Invalid (empty, too long), TooMany (allowance), Unavailable (budget, model); then
        the message does not count.
        """
        question = check(text)
        with self.db.begin() as session:
            visit = visits.find_or_make(session, visitor.token, visitor.ip_hash, visitor.user_id)
            turns = [*_turns(session, visit, visitor), Turn("user", question)]
            taken = Reservation(visit.id, visitor.ip_hash, at.date(), self._worst_case(turns))
            allowance.reserve(session, taken, self.settings)
        try:
            answer = self.model.stream(turns, SYSTEM)
        except Unavailable as error:
            with self.db.begin() as session:
                allowance.give_back(session, taken, 0)
            raise _not_counted(error) from error
        return Reply(self, answer, taken, question)

    def cost(self, answer: "Answer") -> int:
        """Micro-USD of an answer that is whole."""
        return prices.cost(self.settings.clawdet_trial_model, answer.usage)

    def remaining(self, visit_id: str) -> int:
        """Messages that a visit has left."""
        with self.db.read() as session:
            used = session.get_one(TrialVisit, visit_id).used
        return max(0, self.settings.clawdet_trial_messages - used)

    def _worst_case(self, turns: list[Turn]) -> int:
        settings = self.settings
        return prices.worst_case(
            settings.clawdet_trial_model, turns, SYSTEM, settings.clawdet_trial_max_tokens
        )


def check(text: str) -> str:
    """A message as it is sent and kept. Raises Invalid if it is empty or too long."""
    # Browsers send line ends as CRLF; PostgreSQL keeps no NUL.
    question = text.replace("\r\n", "\n").replace("\0", "").strip()
    if not question:
        raise Invalid("There was no message.", "Write something first.")
    if len(question) > LONGEST:
        raise Invalid(
            "That message is too long.",
            f"Use at most {LONGEST:,} characters; this one has {len(question):,}.",
        )
    return question


def _turns(session: Session, visit: TrialVisit, visitor: Visitor) -> list[Turn]:
    if not visits.may_read(visit, visitor.user_id):
        return []
    return [Turn(said.role, said.text) for said in visits.messages(session, visit.id)]


def _add(session: Session, visit_id: str, question: str, answer: str) -> None:
    session.add(ChatMessage(visit_id=visit_id, role="user", text=question))
    session.flush()
    session.add(ChatMessage(visit_id=visit_id, role="assistant", text=answer))


def _not_counted(error: Unavailable) -> Unavailable:
    return Unavailable(error.title, f"{error.detail} {NOT_COUNTED}")
