"""The worked cases of the rule through the whole service, over HTTP and over MQTT."""

from typing import Any

import pytest

from tests.support import golden
from tests.support.servers import Service, send_mqtt
from tests.support.waiting import until

Sender = str


def send_http(service: Service, batch: dict[str, Any]) -> None:
    response = service.post(batch)
    assert response.status == 202, response.data


def delete(service: Service, ship: int, span: dict[str, str], over_mqtt: bool) -> None:  # noqa: FBT001
    if over_mqtt:
        send_mqtt(service, {"spaceship_id": ship, "delete": span})
    else:
        query = f"spaceship_id={ship}&start={span['start']}&end={span['end']}"
        response = service.request("DELETE", f"/data?{query}", headers={"Prefer": "wait=20"})
        assert (response.status, response.json()["status"]) == (201, "stored"), response.data
    until(lambda: service.get(f"/ships/{ship}/deletions")["data"], "the deletion")
    (row,) = service.get(f"/ships/{ship}/deletions")["data"]
    assert (row["start"], row["end"]) == (span["start"], span["end"])


@pytest.mark.parametrize("send", [send_http, send_mqtt], ids=["http", "mqtt"])
@pytest.mark.parametrize("case", golden.CASES, ids=golden.NAMES)
def test_worked_cases(service: Service, ship: int, send: Any, case: dict[str, Any]) -> None:
    first, *others = ({**batch, "spaceship_id": ship} for batch in case["batches"])
    send(service, first)
    if span := case.get("delete_after_first"):
        until(lambda: service.get(f"/data?spaceship_id={ship}")["data"], "the slots of what is to be deleted")
        delete(service, ship, span, send is send_mqtt)
    for batch in others:
        send(service, batch)
    expected = [
        {
            "datetime": slot["datetime"],
            "value": round(slot["value"], 6),
            "covered_seconds": slot["covered_seconds"],
            **({"estimated_seconds": slot["estimated_seconds"]} if "estimated_seconds" in slot else {}),
            "provisional": slot["provisional"],
        }
        for slot in case["slots"]
    ]
    path = f"/data?spaceship_id={ship}&detail=true"

    def found() -> list[dict[str, Any]]:
        return [{name: row[name] for name in expected[0]} for row in service.get(path)["data"]]

    until(lambda: found() == expected, "the slots of the worked case")
