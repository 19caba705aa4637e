"""Several batches in one POST, and readings that do not count, through the whole service on each store."""

import json
from typing import Any
from uuid import uuid4

from shared.domain.timestamps import iso, moment_us
from tests.support.servers import Service, send_mqtt
from tests.support.waiting import until

START_US = moment_us("2022-03-01T00:00:00Z")
WAIT = {"Prefer": "wait=20"}


def batch(ship: int, value: float, **members: Any) -> dict[str, Any]:
    data = [{"datetime": iso(START_US), "value": value}]
    return {"spaceship_id": ship, "units": "kWh", "data": data, **members}


def value_of(service: Service, ship: int) -> list[float]:
    return [row["value"] for row in service.get(f"/data?spaceship_id={ship}")["data"]]


def test_batches_of_an_array_and_of_lines_are_stored(service: Service) -> None:
    """Of several ships; the answer of who waits comes when all can be read."""
    ships = [4_100_000, 4_100_001, 4_100_002]
    bodies = [[batch(ship, value) for ship in ships] for value in (1, 2)]
    response = service.post(bodies[0], **WAIT)
    assert (response.status, response.json()["status"]) == (201, "stored")
    assert [value_of(service, ship) for ship in ships] == [[1]] * 3
    lines = "\n".join(map(json.dumps, bodies[1])).encode()
    response = service.request("POST", "/data", lines, {"Content-Type": "application/x-ndjson", **WAIT})
    assert response.status == 201
    assert [value_of(service, ship) for ship in ships] == [[2]] * 3
    for each in response.json()["batches"]:
        assert service.get(f"/batches/{each['batch_id']}")["status"] == "stored"


def test_an_older_reading_is_stored_and_does_not_count(service: Service) -> None:
    """The answer says so; a repeat of the one that counts is none."""
    ship, names = 4_100_003, [str(uuid4()) for _ in range(3)]
    newer = batch(ship, 5, sent_at="2022-03-02T00:00:00Z")
    older = batch(ship, 6, sent_at="2022-03-01T00:00:00Z")
    assert "superseded" not in service.post({**newer, "batch_id": names[0]}, **WAIT).json()
    said = service.post({**older, "batch_id": names[1]}, **WAIT).json()
    assert said == {"batch_id": names[1], "status": "stored", "readings": 1, "superseded": 1}
    assert service.get(f"/batches/{names[1]}")["superseded"] == 1
    assert "superseded" not in service.post({**newer, "batch_id": names[2]}, **WAIT).json()
    assert value_of(service, ship) == [5]


def test_a_reading_that_a_later_deletion_takes_out_does_not_count(service: Service) -> None:
    ship = 4_100_004
    span = {"start": iso(START_US), "end": iso(START_US + 1)}
    send_mqtt(service, {"spaceship_id": ship, "delete": span, "sent_at": "2022-03-02T00:00:00Z"})
    path = f"/ships/{ship}/deletions"
    until(lambda: service.request("GET", path).status == 200 and service.get(path)["data"], "the deletion")
    assert service.post(batch(ship, 6, sent_at="2022-03-01T00:00:00Z"), **WAIT).json()["superseded"] == 1
    assert "superseded" not in service.post(batch(ship, 7, sent_at="2022-03-03T00:00:00Z"), **WAIT).json()
