"""Billing periods."""

import calendar
import datetime

SECONDS = {"day": 86_400, "week": 7 * 86_400}


def plus(moment: int, interval: str, count: int) -> int:
    """A moment (Unix seconds, UTC) that many days, weeks, months or years later.

    A day that the month lacks becomes its last.
    """
    if interval in SECONDS:
        return moment + SECONDS[interval] * count
    then = datetime.datetime.fromtimestamp(moment, datetime.UTC)
    months = then.month - 1 + count * (12 if interval == "year" else 1)
    year, month = then.year + months // 12, months % 12 + 1
    day = min(then.day, calendar.monthrange(year, month)[1])
    return int(then.replace(year=year, month=month, day=day).timestamp())
