"""What the application cannot say of its endpoints by itself: the models of bodies and answers.

Paths, methods, who may call them and what they are for come from the views (`openapi.py`). Every
endpoint below /api/ has an entry here, and every entry has its endpoint: a test compares. Readers
see them in this order.
"""

from dataclasses import dataclass, field

from pydantic import BaseModel

from webapp.accounts.schema import Me
from webapp.api.schema import Event
from webapp.billing.schema import HostedPage, PaymentStatus
from webapp.instances.schema import ProvisioningStatus
from webapp.trial.schema import TrialAnswer, TrialDelta, TrialDone, TrialError, TrialQuestion

JSON = "application/json"
HTML = "text/html"
EVENTS = "text/event-stream"


@dataclass(frozen=True)
class Parameter:
    """A parameter that may be left out: `place` is query, path, header or cookie."""

    name: str
    place: str
    meaning: str


@dataclass(frozen=True)
class Answer:
    """An answer without an error. `content`: a media type each, with its model if it has one."""

    meaning: str
    content: dict[str, type[BaseModel] | None] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """One endpoint. `errors`: statuses beyond those that follow from who may call it and how.

    `more`: said below the summary. `is_csrf_exempt`: a POST that needs no CSRF token. `problems`:
    what errors are told as. `events`: models of the events that a stream sends.
    """

    answers: dict[int, Answer]
    errors: tuple[int, ...] = ()
    body: type[BaseModel] | None = None
    parameters: tuple[Parameter, ...] = ()
    more: str = ""
    is_csrf_exempt: bool = False
    problems: str = "application/problem+json"
    events: tuple[type[BaseModel], ...] = ()


def _json(meaning: str, model: type[BaseModel] | None = None) -> Answer:
    return Answer(meaning, {JSON: model})


_PAGE_OF_STRIPE = {200: _json("Where to send the browser.", HostedPage)}
_PROGRESS = """\
Events: `step` {step, state, title, detail, elapsedS, usualS}, `log` {at, text, failed}, `status`
{status}. Each `log` and `status` has an id; a stream that broke off goes on after `Last-Event-ID`.
It ends when the status is complete, failed, suspended or deleted."""
_CHAT = """\
With `Accept: text/event-stream` the answer comes as it is written: events `delta` (TrialDelta),
then `done` (TrialDone) or `error` (TrialError). A message is 1 to 2,000 characters; one that fails
is not counted."""

OPERATIONS: dict[str, Operation] = {
    "accounts.api_me": Operation({200: _json("The user.", Me)}),
    "trial.api_send": Operation(
        {200: Answer("The answer.", {JSON: TrialAnswer, EVENTS: Event})},
        errors=(429, 503),
        body=TrialQuestion,
        more=_CHAT,
        events=(TrialDelta, TrialDone, TrialError),
    ),
    "billing.api_checkout": Operation(_PAGE_OF_STRIPE, errors=(409, 429, 503)),
    "billing.api_portal": Operation(_PAGE_OF_STRIPE, errors=(409, 429, 503)),
    "billing.api_status": Operation({200: _json("How it stands.", PaymentStatus)}),
    "billing.stripe_webhook": Operation(
        {200: Answer("Kept, or known already.", {HTML: None})},
        errors=(400,),
        parameters=(Parameter("Stripe-Signature", "header", "Stripe's, over the body"),),
        is_csrf_exempt=True,
    ),
    "instances.api_start": Operation(
        {202: _json("Ordered, or on its way already.", ProvisioningStatus)}, errors=(402,)
    ),
    "instances.api_status": Operation(
        {200: _json("How far it is.", ProvisioningStatus)}, errors=(404,)
    ),
    "instances.events": Operation(
        {
            200: Answer("The stream.", {EVENTS: Event}),
            204: Answer("There is nothing more to tell; do not ask again."),
        },
        errors=(404,),
        parameters=(
            Parameter("Last-Event-ID", "header", "the last event's that was seen"),
            Parameter("after", "query", "the same, for the first call"),
        ),
        more=_PROGRESS,
    ),
    "accounts.x_login": Operation(
        {303: Answer("To X.", {HTML: None}, {"Location": "X's page of consent"})},
        errors=(429,),
        parameters=(Parameter("next", "query", "the path to go on with afterwards"),),
        problems=HTML,
    ),
    "accounts.x_callback": Operation(
        {200: Answer("Signed in; the page leads on.", {HTML: None})},
        errors=(400, 503),
        parameters=(
            Parameter("state", "query", "the attempt's, as we gave it to X"),
            Parameter("code", "query", "X's, to be exchanged for a token"),
            Parameter("error", "query", "X's, where the person said no"),
        ),
        problems=HTML,
    ),
    "api.openapi": Operation({200: _json("This document.")}),
    "api.docs": Operation({200: Answer("The page.", {HTML: None})}),
}
