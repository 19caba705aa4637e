"""The limits of the contract, held against every text that repeats them."""

import re

import pytest

from power_cli.up import ROOT
from shared.contract.limits import (
    MAX_BATCHES,
    MAX_BODY_BYTES,
    MAX_CONTAINERS,
    MAX_CORRELATION_BYTES,
    MAX_COVARIATE_AHEAD_S,
    MAX_COVARIATE_ROWS,
    MAX_COVARIATES,
    MAX_ELEMENTS,
    MAX_GZIP_MEMBERS,
    MAX_KW,
    MAX_MEMBERS,
    MAX_MESSAGE_BYTES,
    MAX_READINGS,
    MAX_SLOTS,
    MAX_VALUE,
    MAX_WAIT_S,
    SMALL_BYTES,
)

MIB = 2**20
PROPERTIES_BYTES = 4096
"""What the broker has to allow for topic and properties of a message, beyond its payload."""


def text(path: str) -> str:
    """Return a file's text."""
    return (ROOT / path).read_text("utf-8")


def on_one_line(path: str) -> str:
    """Return a file's text without line breaks, wherever its sentences are broken."""
    return " ".join(text(path).replace("\n#", "\n").split())


@pytest.mark.parametrize("path", ["mosquitto/local.conf", "mosquitto/mosquitto.conf"])
def test_mosquitto_accepts_the_largest_message(path: str) -> None:
    """And not much more: what is larger need not reach the worker."""
    (packet_bytes,) = re.findall(r"^max_packet_size (\d+)$", text(path), re.MULTILINE)
    assert MAX_MESSAGE_BYTES + PROPERTIES_BYTES <= int(packet_bytes) <= MAX_MESSAGE_BYTES * 1.01


def test_nginx_accepts_the_largest_body() -> None:
    """And one that is a little too large, so that its sender gets the service's own answer."""
    found = re.findall(r"^\s*client_max_body_size (\d+)m;$", text("edge/nginx.conf.template"), re.MULTILINE)
    assert len(found) == 1
    assert MAX_BODY_BYTES < int(found[0]) * MIB <= MAX_BODY_BYTES + MIB


BODY = f"{MAX_BODY_BYTES // MIB} MiB"
READINGS, SLOTS = f"1 to {MAX_READINGS:,} readings", f"{MAX_SLOTS:,} slots"
STATED = {
    "edge/nginx.conf.template": [f"the {BODY} of a batch", f"A body has at most {BODY}."],
    "mosquitto/local.conf": [f"a batch of up to {BODY}"],
    "mosquitto/mosquitto.conf": [f"a batch of up to {BODY}"],
    "docs/http.md": [
        f"The body is at most {BODY}",
        READINGS,
        f"A body has at most {MAX_BATCHES:,} batches, with {MAX_MEMBERS:,} members",
        f"{BODY}, {MAX_READINGS:,} readings, {SLOTS}",
        f"{MAX_SLOTS:,} [slots]",
        f"more than {SMALL_BYTES // 1024} KiB: {MAX_CONTAINERS:,} objects and lists, {MAX_ELEMENTS:,} members",
        f"{MAX_GZIP_MEMBERS} members of a gzip body",
        f"up to {MAX_WAIT_S} (more counts as {MAX_WAIT_S})",
        f"to {MAX_KW:.0e} kW".replace("e+0", "e"),
        f"{MAX_VALUE:.0e} kWh".replace("e+", "e"),
        f"up to {MAX_COVARIATE_ROWS:,} rows",
        f"at most {MAX_COVARIATE_AHEAD_S // 86_400} days ahead",
        f"up to {MAX_COVARIATES} different names",
    ],
    "docs/mqtt.md": [f"A message is at most {BODY}", f"at most {SLOTS}", f"{MAX_CORRELATION_BYTES} bytes at most"],
    "docs/operating.md": [
        f"{READINGS}, {BODY}, unpacked too; {SLOTS}",
        f"{MAX_COVARIATE_ROWS:,} rows of up to {MAX_COVARIATES} numbers",
        f"up to {MAX_COVARIATE_AHEAD_S // 86_400} days ahead",
    ],
    "query_api/openapi.json": [
        f"The body has at most {BODY}, before and after unpacking.",
        f"The body has more than {BODY}, before or after unpacking.",
        f"after at most S seconds, up to {MAX_WAIT_S}",
        f'"maxItems": {MAX_READINGS}',
    ],
}


@pytest.mark.parametrize("path", STATED)
def test_text_states_the_limits_of_the_contract(path: str) -> None:
    found = on_one_line(path)
    assert [each for each in STATED[path] if each not in found] == []


def test_no_page_states_another_size_of_a_body() -> None:
    """Wherever it is stated, also where the test above does not look."""
    stated = re.compile(r"(?:body|bodies|messages?|batch)(?: is| of| has)? at most (\d+ MiB)")
    pages = ["README.md", *(str(each.relative_to(ROOT)) for each in (ROOT / "docs").glob("**/*.md"))]
    sizes = {(page, size) for page in pages for size in stated.findall(on_one_line(page))}
    assert {size for _, size in sizes} == {BODY}, sizes
