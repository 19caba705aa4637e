"""Tokens for tests, with their secrets."""

from datetime import UTC, datetime
from hashlib import sha256

from shared.http.tokens import Role, Token
from tests.support.bad_batches import SHIP


def secret_of(name: str) -> str:
    """Give the secret of the token that `token` makes."""
    return f"the-secret-of-{name}"


def token(name: str, role: Role, *ships: int) -> Token:
    """Make a token."""
    return Token(
        name=name,
        role=role,
        ships=ships or None,
        created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        sha256=sha256(secret_of(name).encode()).hexdigest(),
    )


def bearer(name: str) -> dict[str, str]:
    """Give the header that shows the token."""
    return {"Authorization": f"Bearer {secret_of(name)}"}


TOKENS = (
    token("all-ships", "ingest"),
    token("own-ship", "ingest", SHIP, SHIP + 1),
    token("other-ship", "ingest", SHIP + 1),
    token("console", "read"),
    token("root", "admin"),
)
