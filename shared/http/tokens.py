"""Access tokens: the format of their file, how a request is matched to one, and the rights it gives."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from shared.contract.validation import problems
from shared.contract.wire import Ship
from shared.domain.errors import Forbidden, InvalidSettings, Unauthenticated

Right = Literal["ingest", "read"]
Role = Literal["ingest", "read", "admin"]
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


@dataclass(frozen=True, slots=True)
class Access:
    """The rights of the sender of a request.

    Attributes:
        role: `ingest` may send readings, `read` may query, `admin` may do everything.
        ships: the ships whose readings it may send; None means all.
        name: of the token; empty if the service requires none.

    """

    role: Role
    ships: frozenset[int] | None = None
    name: str = ""

    def check(self, right: Right | None) -> None:
        """Check that the role includes a right; None is for `admin` only.

        Raises:
            Forbidden: the role does not include it.

        """
        if self.role not in (right, "admin"):
            raise Forbidden(f"a token with the role {right or 'admin'} is needed; this one has the role {self.role}")

    def may_send(self, ship: int) -> bool:
        """Tell whether it may send a ship's readings."""
        return self.ships is None or ship in self.ships

    def sender(self, ship: int) -> str:
        """Return whose quota a batch counts against: the token's, or the ship's if the service requires no tokens."""
        return self.name or f"ship {ship}"

    def check_ship(self, ship: int) -> None:
        """Check that it may send a ship's readings.

        Raises:
            Forbidden: the token is for other ships.

        """
        if not self.may_send(ship):
            raise Forbidden(f"this token is not for readings of ship {ship}")


EVERYTHING = Access("admin")


class Token(BaseModel):
    """One token as stored in the file, without its secret."""

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
        """The rights that the token gives."""
        return Access(self.role, None if self.ships is None else frozenset(self.ships), self.name)


def digest(secret: str) -> str:
    """Return the hash of a secret.

    A fast hash without salt is enough: a secret is 256 random bits, which cannot be guessed. Slow, salted hashes are
    for passwords that people choose, and would add a tenth of a second to every request.
    """
    return sha256(secret.encode()).hexdigest()


def access(tokens: Sequence[Token], authorization: str | None) -> Access:
    """Return the rights of the sender of an `Authorization` header.

    Raises:
        Unauthenticated: the header is missing, has another scheme, or its token is unknown.

    """
    scheme, _, secret = (authorization or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise Unauthenticated("an access token is needed: Authorization: Bearer TOKEN")
    asked = digest(secret.strip())
    found: Token | None = None
    for token in tokens:  # all of them, each in constant time, against timing attacks
        if hmac.compare_digest(asked, token.sha256):
            found = token
    if found is None:
        raise Unauthenticated("the access token is not known")
    return found.access


def anybody(_authorization: str | None) -> Access:
    """Return full rights for every request, for a service that only this machine can reach."""
    return EVERYTHING


def parse(text: str, source: str) -> tuple[Token, ...]:
    """Return the tokens in a text with one JSON object per line; errors name the file `source`.

    Raises:
        InvalidSettings: names the first invalid line, without its content.

    """
    tokens: dict[str, Token] = {}
    digests: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            token = _token(line, f"{source}:{number}")
            if token.name in tokens or token.sha256 in digests:
                raise InvalidSettings(f"{source}:{number}: the name or the hash is already on an earlier line")
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
    """Return tokens in the format of `parse`."""
    return "".join(f"{token.model_dump_json(exclude_none=True)}\n" for token in tokens)
