"""What the payment API says."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from webapp.billing.policy import Standing
from webapp.billing.service import BillingSummary


class Answer(BaseModel):
    """Base: camelCase outside, read only."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class HostedPage(Answer):
    """Where to send the browser; a page of Stripe's."""

    url: str


class PaymentStatus(Answer):
    """How the plan stands. `nextAt` is when it renews or changes; `amountCents` per `period`."""

    paid: bool
    standing: Standing
    words: str
    next_at: datetime | None = None
    amount_cents: int
    currency: str
    period: str


def payment_status(found: BillingSummary, *, paid: bool) -> PaymentStatus:
    """The summary as the API tells it."""
    return PaymentStatus(
        paid=paid,
        standing=found.standing,
        words=found.words,
        next_at=found.next_at,
        amount_cents=found.amount_cents,
        currency=found.currency,
        period=found.period,
    )
