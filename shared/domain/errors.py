"""The project's errors: invalid and refused are never retried, unavailable is, anything else crashes in sight."""

from dataclasses import dataclass

MAX_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of an input: where it stands (``data[3].value``) and what is wrong with it."""

    at: str
    problem: str


class PowerError(Exception):
    """The base of every error that this project raises on purpose."""


class InvalidInput(PowerError):
    """An input that can never be taken, however often it is sent again."""

    at = "body"
    """Where the fault stands if nothing more is known."""

    def __init__(self, summary: str, problems: tuple[Problem, ...] = ()) -> None:
        """Keep at most `MAX_PROBLEMS` of the faults: a bad input must not cost a large answer."""
        super().__init__(summary)
        self.summary = summary
        self.problems = problems[:MAX_PROBLEMS] or (Problem(self.at, summary),)


class UnreadableInput(InvalidInput):
    """An input that is not even well-formed: no JSON, no gzip."""


class TooLargeInput(InvalidInput):
    """An input over the limit in bytes."""


class UnsupportedInput(InvalidInput):
    """An input of a type or in an encoding that is not taken."""


class InvalidSettings(InvalidInput):
    """A setting is missing or wrong; the service must not start."""


class Refused(InvalidInput):
    """Something that the store can never take, though it is valid by our rules."""

    at = "store"


class Conflict(InvalidInput):
    """An input that contradicts one that was taken before."""


class Unauthenticated(PowerError):
    """Nobody knows who asks."""


class Forbidden(PowerError):
    """Who asks is known, and may not do this."""


class Busy(PowerError):
    """Too much is asked for at once: ask again later."""


class Unavailable(PowerError):
    """Something we need is away or overloaded: try again later, acknowledge nothing."""
