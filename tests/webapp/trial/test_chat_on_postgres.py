"""The allowances again, on the database where transactions truly run at the same time."""

import pytest

from tests.webapp.trial.test_chat import (
    test_a_failure_of_the_model_is_shown_as_one_and_does_not_count,
    test_many_tabs_at_once_do_not_get_more,
    test_odd_characters_do_no_harm,
    test_the_budget_cannot_be_exceeded_by_asking_at_once,
)

__all__ = [
    "test_a_failure_of_the_model_is_shown_as_one_and_does_not_count",
    "test_many_tabs_at_once_do_not_get_more",
    "test_odd_characters_do_no_harm",
    "test_the_budget_cannot_be_exceeded_by_asking_at_once",
]


@pytest.fixture
def database_url(postgres_url: str) -> str:
    return postgres_url
