"""Waiting for something to become true, with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

DEADLINE_S = 20.0
PAUSE_S = 0.01


def until(look: Callable[[], Found | None], what: str, deadline_s: float = DEADLINE_S) -> Found:
    """Look again and again until there is something true to see, and give it."""
    deadline = time.monotonic() + deadline_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            message = f"after {deadline_s:.0f} s still not: {what} (last seen: {found!r})"
            raise AssertionError(message)
        time.sleep(PAUSE_S)


def until_holds(check: Callable[[], None], deadline_s: float = DEADLINE_S) -> None:
    """Make assertions again and again until they hold; at the deadline the failure is theirs."""
    deadline = time.monotonic() + deadline_s
    while True:
        try:
            check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(PAUSE_S)
