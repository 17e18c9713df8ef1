from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from webapp.billing.policy import NOTHING, Delays, Terms, decide

DAY = timedelta(days=1)
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
PERIOD_END = datetime(2026, 12, 1, 12, tzinfo=UTC)
DELAYS = Delays(past_due=7 * DAY, suspended=14 * DAY)
PAID = Terms("sub_1", "active", created_at=NOON, current_period_end=PERIOD_END)
BEHIND = replace(PAID, status="past_due", past_due_since=PERIOD_END)
CANCELLED = replace(PAID, cancel_at_period_end=True)
ENDED = replace(CANCELLED, status="canceled", ended_at=PERIOD_END)


def test_who_never_paid_is_entitled_to_nothing() -> None:
    assert decide([], None, DELAYS, NOON) == NOTHING


@pytest.mark.parametrize("status", ["incomplete", "incomplete_expired"])
def test_a_subscription_that_never_began_counts_for_nothing(status: str) -> None:
    decision = decide([replace(PAID, status=status)], None, DELAYS, NOON)
    assert decision.desired is None


@pytest.mark.parametrize("status", ["active", "trialing"])
def test_a_paid_subscription_runs_and_says_when_it_renews(status: str) -> None:
    decision = decide([replace(PAID, status=status)], None, DELAYS, NOON + DAY)
    assert (decision.standing, decision.desired) == ("running", "running")
    assert decision.next_at == PERIOD_END
    assert decision.words == "Paid. Renews on 1 December 2026."


def test_a_cancelled_subscription_runs_to_the_end_of_its_period() -> None:
    decision = decide([CANCELLED], None, DELAYS, PERIOD_END - DAY)
    assert (decision.standing, decision.desired) == ("ending", "running")
    assert decision.next_at == PERIOD_END
    assert "1 December 2026" in decision.words


def test_a_cancelled_subscription_runs_on_until_stripe_says_that_it_has_ended() -> None:
    decision = decide([CANCELLED], None, DELAYS, PERIOD_END + DAY)
    assert decision.desired == "running"


def test_an_ended_subscription_leads_to_deletion() -> None:
    decision = decide([ENDED], None, DELAYS, PERIOD_END)
    assert (decision.standing, decision.desired) == ("ended", "deleted")
    assert decision.since == PERIOD_END


@pytest.mark.parametrize("status", ["past_due", "unpaid", "paused"])
@pytest.mark.parametrize(
    ("after", "standing", "desired"),
    [
        (timedelta(0), "grace", "running"),
        (7 * DAY - timedelta(seconds=1), "grace", "running"),
        (7 * DAY, "suspended", "suspended"),
        (21 * DAY - timedelta(seconds=1), "suspended", "suspended"),
        (21 * DAY, "ended", "deleted"),
        (400 * DAY, "ended", "deleted"),
    ],
)
def test_a_payment_that_is_behind_leads_by_grace_and_suspension_to_deletion(
    status: str, after: timedelta, standing: str, desired: str
) -> None:
    decision = decide([replace(BEHIND, status=status)], None, DELAYS, PERIOD_END + after)
    assert (decision.standing, decision.desired) == (standing, desired)


def test_the_grace_period_says_when_it_ends_and_what_comes_then() -> None:
    decision = decide([BEHIND], None, DELAYS, PERIOD_END)
    assert decision.since == PERIOD_END
    assert decision.next_at == PERIOD_END + 7 * DAY
    assert decision.delete_at == PERIOD_END + 21 * DAY
    assert decision.remind_at == PERIOD_END + 5 * DAY
    assert "8 December 2026" in decision.words


def test_a_short_grace_period_has_no_reminder() -> None:
    decision = decide([BEHIND], None, Delays(3 * DAY, 14 * DAY), PERIOD_END)
    assert decision.remind_at is None


def test_the_suspension_says_when_everything_is_deleted() -> None:
    decision = decide([BEHIND], None, DELAYS, PERIOD_END + 8 * DAY)
    assert decision.since == PERIOD_END + 7 * DAY
    assert decision.next_at == decision.delete_at == PERIOD_END + 21 * DAY
    assert "22 December 2026" in decision.words


def test_without_delays_a_failed_payment_is_the_end() -> None:
    decision = decide([BEHIND], None, Delays(0 * DAY, 0 * DAY), PERIOD_END)
    assert decision.desired == "deleted"


def test_a_subscription_that_ended_unpaid_is_suspended_as_long_as_it_would_have_been() -> None:
    given_up = replace(BEHIND, status="canceled", ended_at=PERIOD_END + 3 * DAY)
    decision = decide([given_up], None, DELAYS, PERIOD_END + 4 * DAY)
    assert (decision.standing, decision.delete_at) == ("suspended", PERIOD_END + 21 * DAY)
    assert decide([given_up], None, DELAYS, PERIOD_END + 21 * DAY).desired == "deleted"


@pytest.mark.parametrize("before", [BEHIND, ENDED])
@pytest.mark.parametrize("after", [1 * DAY, 10 * DAY, 30 * DAY])
def test_paying_again_makes_it_run_whatever_was_before(before: Terms, after: timedelta) -> None:
    again = replace(PAID, id="sub_2", created_at=PERIOD_END + after)
    for order in ([before, again], [again, before]):
        decision = decide(order, None, DELAYS, PERIOD_END + after)
        assert (decision.desired, decision.subscription_id) == ("running", "sub_2")


def test_of_several_that_ended_the_latest_counts() -> None:
    later = replace(ENDED, id="sub_2", created_at=PERIOD_END, ended_at=PERIOD_END + 30 * DAY)
    decision = decide([later, ENDED], None, DELAYS, PERIOD_END + 31 * DAY)
    assert decision.since == PERIOD_END + 30 * DAY


@pytest.mark.parametrize("subscriptions", [[], [BEHIND], [ENDED], [PAID]])
def test_a_payment_by_arrangement_runs_whatever_stripe_says(subscriptions: list[Terms]) -> None:
    decision = decide(subscriptions, NOON, DELAYS, NOON + 100 * DAY)
    assert (decision.standing, decision.desired, decision.since) == ("manual", "running", NOON)
