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


@pytest.mark.parametrize("send", [send_http, send_mqtt], ids=["http", "mqtt"])
@pytest.mark.parametrize("case", golden.CASES, ids=golden.NAMES)
def test_worked_cases(service: Service, ship: int, send: Any, case: dict[str, Any]) -> None:
    for batch in case["batches"]:
        send(service, {**batch, "spaceship_id": ship})
    expected = [
        {
            "datetime": slot["datetime"],
            "value": round(slot["value"], 6),
            "covered_seconds": slot["covered_seconds"],
            "estimated_seconds": slot.get("estimated_seconds"),
            "provisional": slot["provisional"],
        }
        for slot in case["slots"]
    ]
    path = f"/data?spaceship_id={ship}&detail=true"
    until(lambda: service.get(path)["data"] == expected, "the slots of the worked case")
