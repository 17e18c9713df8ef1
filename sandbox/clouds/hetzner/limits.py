"""Hetzner's rate limit: an allowance of requests per hour that refills steadily."""

import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Allowance:
    """What is left after a request; `headers()` tells the client."""

    granted: bool
    limit: int
    remaining: int
    reset: int

    def headers(self) -> dict[str, str]:
        """The vendor's headers; RateLimit-Reset is the Unix time at which all is refilled."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }


class RateLimit:
    """One project's allowance. Thread-safe; a change of the limit fills it up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limit = 0
        self._left = 0.0
        self._at = 0.0

    def take(self, limit: int) -> Allowance:
        """Take one request out of `limit` per hour."""
        with self._lock:
            moment = time.time()
            if limit != self._limit:
                self._limit, self._left = limit, float(limit)
            else:
                refill = (moment - self._at) * limit / 3600
                self._left = min(float(limit), self._left + refill)
            self._at = moment
            granted = self._left >= 1
            if granted:
                self._left -= 1
            reset = int(moment + (limit - self._left) * 3600 / limit)
            return Allowance(granted, limit, int(self._left), reset)
