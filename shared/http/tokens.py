"""Access tokens: what a file of them says, whose a request's is, and what its bearer may do."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from shared.contract.batch import Ship
from shared.contract.validation import problems
from shared.domain.errors import Forbidden, InvalidSettings, Unauthenticated

Right = Literal["ingest", "read"]
Role = Literal["ingest", "read", "admin"]
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


@dataclass(frozen=True, slots=True)
class Access:
    """What the sender of a request may do.

    Attributes:
        role: `ingest` may send, `read` may ask, `admin` may do everything.
        ships: whose readings it may send; None stands for all.
        name: of the token; empty where nobody is asked for one.

    """

    role: Role
    ships: frozenset[int] | None = None
    name: str = ""

    def check(self, right: Right | None) -> None:
        """Let through whoever has a right; what names none is for `admin` alone.

        Raises:
            Forbidden: the role does not include it.

        """
        if self.role not in (right, "admin"):
            raise Forbidden(f"a token with the role {right or 'admin'} is needed; this one has the role {self.role}")

    def may_send(self, ship: int) -> bool:
        """Tell whether it may send a ship's readings."""
        return self.ships is None or ship in self.ships

    def sender(self, ship: int) -> str:
        """Name whose quota a batch of a ship counts for: its token's; where nobody is asked for one, its ship's."""
        return self.name or f"ship {ship}"

    def check_ship(self, ship: int) -> None:
        """Let through whoever may send a ship's readings.

        Raises:
            Forbidden: the token is for other ships.

        """
        if not self.may_send(ship):
            raise Forbidden(f"this token is not for readings of ship {ship}")


EVERYTHING = Access("admin")


class Token(BaseModel):
    """One token as its file knows it: everything but the secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=NAME)]
    role: Role
    ships: Annotated[tuple[Ship, ...], Field(min_length=1)] | None = None
    created: AwareDatetime
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$", repr=False)]

    @field_validator("ships")
    @classmethod
    def _only_of_senders(cls, ships: tuple[int, ...] | None, info: ValidationInfo) -> tuple[int, ...] | None:
        if ships is not None and info.data.get("role", "ingest") != "ingest":
            raise PydanticCustomError("ships", "go with the role ingest only")
        return ships

    @property
    def access(self) -> Access:
        """What its bearer may do."""
        return Access(self.role, None if self.ships is None else frozenset(self.ships), self.name)


def digest(secret: str) -> str:
    """Give what is kept of a secret.

    A plain, quick hash is right here: a secret is 256 random bits, which nobody can find by trying. Slow, salted hashes
    are for passwords that people choose, and would cost every request a tenth of a second.
    """
    return sha256(secret.encode()).hexdigest()


def access(tokens: Sequence[Token], authorization: str | None) -> Access:
    """Tell what the sender of an `Authorization` header may do.

    Raises:
        Unauthenticated: the header is missing, no `Bearer`, or its token is none of these.

    """
    scheme, _, secret = (authorization or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise Unauthenticated("an access token is needed: Authorization: Bearer TOKEN")
    asked = digest(secret.strip())
    found: Token | None = None
    for token in tokens:  # all of them, each in constant time: how long it takes tells nothing about any
        if hmac.compare_digest(asked, token.sha256):
            found = token
    if found is None:
        raise Unauthenticated("the access token is not known")
    return found.access


def anybody(_authorization: str | None) -> Access:
    """Let everybody do everything, as on a machine that only its owner can reach."""
    return EVERYTHING


def parse(text: str, source: str) -> tuple[Token, ...]:
    """Read tokens, a JSON object a line; blank lines count for nothing.

    Args:
        text: the lines.
        source: what an error calls them.

    Raises:
        InvalidSettings: naming the first wrong line, and never what stands there.

    """
    tokens: dict[str, Token] = {}
    digests: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            token = _token(line, f"{source}:{number}")
            if token.name in tokens or token.sha256 in digests:
                raise InvalidSettings(f"{source}:{number}: the name or the hash stands in an earlier line, too")
            tokens[token.name] = token
            digests.add(token.sha256)
    return tuple(tokens.values())


def _token(line: str, place: str) -> Token:
    try:
        return Token.model_validate_json(line)
    except ValidationError as error:
        faults = "; ".join(f"{each.at} {each.problem}".removeprefix("body ") for each in problems(error))
        raise InvalidSettings(f"{place}: {faults}") from None


def dump(tokens: Sequence[Token]) -> str:
    """Write tokens as `parse` reads them."""
    return "".join(f"{token.model_dump_json(exclude_none=True)}\n" for token in tokens)
