"""Access tokens: whose a header's is, what it is good for, and how a file of them reads."""

from hashlib import sha256

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from shared.domain.errors import Forbidden, InvalidSettings, Unauthenticated
from shared.domain.readings import MAX_SHIP
from shared.http.tokens import EVERYTHING, Access, Right, Role, Token, access, digest, dump, parse
from tests.support.tokens import secret_of, token

SENDER, READER, ADMIN = token("ship-42", "ingest", 42, 43), token("console", "read"), token("root", "admin")
ALL = (SENDER, READER, ADMIN)
LINE = dump([SENDER]).strip()
ROLES: list[Role] = ["ingest", "read", "admin"]
HEADER_TEXT = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)


@pytest.mark.parametrize("each", ALL, ids=lambda each: each.name)
@pytest.mark.parametrize("header", ["Bearer {}", "bearer {}", "BEARER   {} "])
def test_a_token_is_found_by_its_secret(each: Token, header: str) -> None:
    assert access(ALL, header.format(secret_of(each.name))) == each.access


@pytest.mark.parametrize(
    "header",
    [None, "", " ", "Bearer", "Bearer ", "Basic cm9vdDpyb290", "the-secret-of-root", "Token the-secret-of-root"],
)
def test_without_a_bearer_token_one_is_asked_for(header: str | None) -> None:
    with pytest.raises(Unauthenticated, match="is needed"):
        access(ALL, header)


@given(HEADER_TEXT)
@example(SENDER.sha256)
@example(f"{secret_of('root')},{secret_of('root')}")
def test_another_token_is_refused_and_not_repeated(secret: str) -> None:
    """The hash that the file holds is one of these."""
    assume(secret not in {secret_of(each.name) for each in ALL})
    with pytest.raises(Unauthenticated) as refusal:
        access(ALL, f"Bearer {secret}")
    assert str(refusal.value) == "the access token is not known"


@given(st.data())
def test_any_mutation_of_a_token_is_refused(data: st.DataObject) -> None:
    """A character more, less, or another."""
    secret = secret_of("root")
    at = data.draw(st.integers(0, len(secret)))
    cut = data.draw(st.integers(0, 1))
    mutated = secret[:at] + data.draw(st.one_of(st.just(""), HEADER_TEXT)) + secret[at + cut :]
    assume(mutated != secret)
    with pytest.raises(Unauthenticated):
        access(ALL, f"Bearer {mutated}")


@given(st.text())
def test_an_invalid_header_only_raises_unauthenticated(header: str) -> None:
    with pytest.raises(Unauthenticated):
        access(ALL, header)


def test_where_there_is_no_token_nobody_gets_in() -> None:
    with pytest.raises(Unauthenticated):
        access((), f"Bearer {secret_of('root')}")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("right", ["ingest", "read", None])
def test_a_role_is_good_for_its_right_and_admin_for_all(role: Role, right: Right | None) -> None:
    """What declares no right is for admin alone."""
    if role in (right, "admin"):
        Access(role).check(right)
    else:
        with pytest.raises(Forbidden, match=f"role {right or 'admin'} is needed; this one has the role {role}"):
            Access(role).check(right)


@given(st.frozensets(st.integers(0, MAX_SHIP), min_size=1), st.integers(0, MAX_SHIP))
def test_a_token_for_ships_is_for_no_other(ships: frozenset[int], ship: int) -> None:
    limited = Access("ingest", ships)
    for each in ships:
        limited.check_ship(each)
    if ship not in ships:
        with pytest.raises(Forbidden, match=f"ship {ship}$"):
            limited.check_ship(ship)


@pytest.mark.parametrize("free", [EVERYTHING, READER.access, Access("ingest")])
def test_a_token_for_no_ship_in_particular_is_for_all(free: Access) -> None:
    free.check_ship(7)


def test_the_hash_is_plain_sha_256() -> None:
    """So that a file can be made by other means: `printf %s SECRET | sha256sum`."""
    assert digest("abc") == sha256(b"abc").hexdigest()


def test_a_secret_stands_neither_in_the_file_nor_in_a_log() -> None:
    assert secret_of("root") not in dump(ALL)
    assert ADMIN.sha256 not in repr(ADMIN)


def test_what_is_written_is_read() -> None:
    assert parse(dump(ALL), "tokens") == ALL
    assert parse(f"\n  \n{LINE}\r\n\n", "tokens") == (SENDER,)
    assert parse("", "tokens") == ()


def test_a_line_is_for_people_too() -> None:
    start = '{"name":"ship-42","role":"ingest","ships":[42,43],"created":"2026-01-02T03:04:05Z","sha256":"'
    assert LINE.startswith(start)


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ("x", "nvalid JSON"),
        ("[]", "should be an object"),
        ("{}", "name is missing; role is missing; created is missing; sha256 is missing"),
        (LINE.replace('"ingest"', '"root"'), "role should be 'ingest', 'read' or 'admin'"),
        (LINE.replace('"ingest"', '"read"'), "ships go with the role ingest only"),
        (LINE.replace('"ingest"', '"admin"'), "ships go with the role ingest only"),
        (LINE.replace("[42,43]", "[]"), "ships is empty"),
        (LINE.replace("42,43", "-1"), r"ships\[0\] should be greater"),
        (LINE.replace("42,43", '"42"'), r"ships\[0\] should be a valid integer"),
        (LINE.replace("ships", "ship"), "ship is not known"),
        (LINE.replace("ship-42", "two words"), "name should match"),
        (LINE.replace("05Z", "05"), "created should have timezone info"),
        (LINE.replace(SENDER.sha256, secret_of("ship-42")), "sha256 should match"),
        (LINE, "is already on an earlier line"),
        (LINE.replace("ship-42", "other"), "is already on an earlier line"),
        (LINE.replace(SENDER.sha256, ADMIN.sha256), "is already on an earlier line"),
    ],
)
def test_a_wrong_line_is_named_and_not_shown(wrong: str, fault: str) -> None:
    with pytest.raises(InvalidSettings, match=f"^tokens:2: [^\n]*{fault}[^\n]*$") as refusal:
        parse(f"{LINE}\n{wrong}\n", "tokens")
    assert secret_of("ship-42") not in str(refusal.value)
    assert SENDER.sha256 not in str(refusal.value)
