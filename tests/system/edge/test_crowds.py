"""Crowds of connections that keep the service waiting: it lives, its memory is bounded, and others are answered."""

import os
import re
from collections.abc import Iterator, Sequence

import psutil
import pytest

from tests.support.crowd import (
    IDLE,
    MANY_ADDRESSES,
    ONE_ADDRESS,
    SLOW_BODY,
    SLOW_HEADER,
    Crowd,
    slow_reading,
    slowest_s,
)
from tests.support.edge import Edge
from tests.support.servers import Service, free_port, started

NUMBER = int(os.environ.get("POWER_TEST_CROWD", "1100"))
"""More than `select()` takes; a closer look takes 3,000."""
PATHS = ("/healthz", "/data?spaceship_id=1")
SOON_S = 8.0
"""On a machine that does much else; by itself it takes less than one."""
MORE_BYTES = 256 * 2**20
KINDS = {"idle": IDLE, "slow-header": SLOW_HEADER, "slow-body": SLOW_BODY, "slow-reading": b""}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The whole service."""
    with started(Service(tmp_path_factory.mktemp("crowds") / "data")) as service:
        yield service


@pytest.fixture(scope="module")
def edge(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """An edge in front of it."""
    ports = {"ingest_api": service.port, "query_api": service.port, "normalizer_worker": free_port()}
    with started(Edge(tmp_path_factory.mktemp("edge"), ports)) as edge:
        yield edge


def _opening(service: Service, kind: str) -> bytes:
    if kind != "slow-reading":
        return KINDS[kind]
    (charts,) = re.findall(r"/page/plotly-[^\"]+", service.request("GET", "/").data.decode())
    return slow_reading(charts)


def _memory(pid: int) -> int:
    process = psutil.Process(pid)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))


def _withstands(service: Service, port: int, kind: str, addresses: Sequence[str]) -> None:
    slowest_s(port, PATHS, 1)
    before = _memory(service.pid)
    crowd = Crowd(port, NUMBER, _opening(service, kind), addresses=addresses, drips=kind != "slow-reading")
    with crowd.there():
        assert slowest_s(port, PATHS, 8) < SOON_S
        assert _memory(service.pid) < before + MORE_BYTES
    assert crowd.opened >= NUMBER


@pytest.mark.parametrize("kind", KINDS)
def test_the_services_answer_others_beside_a_crowd(service: Service, kind: str) -> None:
    """From one address; a body's file and its connection are two."""
    _withstands(service, service.port, kind, ONE_ADDRESS)


@pytest.mark.parametrize("kind", ["slow-body", "slow-reading"])
def test_they_do_beside_a_crowd_from_many_addresses(service: Service, kind: str) -> None:
    _withstands(service, service.port, kind, MANY_ADDRESSES)


@pytest.mark.parametrize("kind", KINDS)
def test_through_the_edge_others_are_answered_beside_a_crowd(service: Service, edge: Edge, kind: str) -> None:
    """From many addresses, of which none has too many connections."""
    _withstands(service, edge.port, kind, MANY_ADDRESSES)


def test_one_address_does_not_shut_the_edge(service: Service, edge: Edge) -> None:
    _withstands(service, edge.port, "slow-header", ONE_ADDRESS)
