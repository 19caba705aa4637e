"""The project's errors: `InvalidInput` is never retried, `Unavailable` is, anything else ends the process."""

from dataclasses import dataclass

MAX_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """One error in an input: its place (``data[3].value``) and what is wrong there."""

    at: str
    problem: str


class PowerError(Exception):
    """Base of the errors that this project raises."""


class InvalidInput(PowerError):
    """The input is invalid, and will be however often it is sent."""

    at = "body"
    """The place that is named if no problem is given."""

    def __init__(self, summary: str, problems: tuple[Problem, ...] = ()) -> None:
        """Keep the first `MAX_PROBLEMS` problems, so that an invalid input cannot cause a large answer."""
        super().__init__(summary)
        self.summary = summary
        self.problems = problems[:MAX_PROBLEMS] or (Problem(self.at, summary),)


class UnreadableInput(InvalidInput):
    """The input cannot be parsed: it is no JSON, or no gzip."""


class TooLargeInput(InvalidInput):
    """The input has too many bytes."""


class UnsupportedInput(InvalidInput):
    """The content type or encoding of the input is not supported."""


class InvalidSettings(InvalidInput):
    """A setting is missing or wrong; the service does not start."""


class Refused(InvalidInput):
    """The database rejects the data for good, though it is valid for us."""

    at = "store"


class Conflict(InvalidInput):
    """The input contradicts one that was accepted before."""


class Unauthenticated(PowerError):
    """The client has not identified itself."""


class Forbidden(PowerError):
    """The client is known and may not do this."""


class Busy(PowerError):
    """Too many requests at once: the client may try again later."""


class Unavailable(PowerError):
    """A service that is needed does not answer or is overloaded: retry later, acknowledge nothing until then."""
