"""The card fields of the hosted pages: what was typed, and what is wrong with it."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field

from sandbox.clouds.stripe import cards
from sandbox.clouds.stripe.cards import CardMistake


@dataclass
class CardForm:
    """Card fields as they were typed; `mistakes` are texts by field, empty when all is well.

    The fields are card_number, card_expiry and card_cvc.
    """

    typed: Mapping[str, str] = field(default_factory=dict)
    mistakes: dict[str, str] = field(default_factory=dict)
    number: str = ""
    expiry: tuple[int, int] = (0, 0)

    def check(self) -> bool:
        """Read the fields; whether there is no mistake, in these fields or any noted before."""
        try:
            self.number = cards.check_number(self.typed.get("card_number", ""))
        except CardMistake as mistake:
            self._note(mistake)
        try:
            today = datetime.datetime.now(datetime.UTC).date()
            self.expiry = cards.check_expiry(self.typed.get("card_expiry", ""), today)
        except CardMistake as mistake:
            self._note(mistake)
        try:
            cards.check_cvc(self.typed.get("card_cvc", "").strip(), self.number)
        except CardMistake as mistake:
            self._note(mistake)
        return not self.mistakes

    def refuse(self, why: cards.Decline) -> None:
        """Note what the bank said beside the field that it concerns."""
        fields = {"incorrect_cvc": "card_cvc", "expired_card": "card_expiry"}
        self.mistakes[fields.get(why.code, "card_number")] = why.message

    def _note(self, mistake: CardMistake) -> None:
        self.mistakes[f"card_{mistake.field}"] = str(mistake)
