"""The worked cases of the rule through the whole service, over HTTP and over MQTT."""

import random
from typing import Any
from uuid import uuid4

import pytest

from shared.domain.slots import DEFAULT_MAX_GAP_US, SLOT_US
from shared.domain.timestamps import iso, moment_us
from tests.support import golden, reference
from tests.support.reference import Deletion, Reading
from tests.support.servers import Service, send_mqtt
from tests.support.strategies import START_US
from tests.support.waiting import until

Sender = str
SENT_US = 1_735_689_600_000_000  # 2025-01-01T00:00:00Z
HALF_SLOT_US = SLOT_US // 2
MINUTE_US = 60_000_000


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


def random_messages(rng: random.Random, ship: int) -> list[dict[str, Any]]:
    """Give batches of every kind, unit and form, and deletions, of one ship; each with its `sent_at`."""
    found: list[dict[str, Any]] = []
    for at in rng.sample(range(20), 20):
        sent_at = iso(SENT_US + at)
        message: dict[str, Any] = {"spaceship_id": ship, "sent_at": sent_at, "batch_id": str(uuid4())}
        if rng.random() < 0.2:
            start_us = START_US + rng.randrange(96) * HALF_SLOT_US
            span = {"start": iso(start_us), "end": iso(start_us + rng.randrange(1, 20) * HALF_SLOT_US)}
            found.append({**message, "delete": span})
            continue
        is_energy = rng.random() < 0.5
        forms: list[dict[str, Any]] = [{}, {}, {"stamp": "end"}, {"counter": True, "rollover": 100.0}]
        if not is_energy:
            forms[3] = {"between": "linear"}
        form = rng.choice(forms)
        if "counter" not in form:
            form = {**form, **rng.choice([{}, {"duration_s": 600}, {"max_gap_s": 5400}])}
        data = [
            {
                "datetime": iso(START_US + rng.randrange(96) * HALF_SLOT_US + rng.choice([0, 0, 1, 61_000_000])),
                "value": value,
            }
            for value in rng.choices([0, 1, 2.5, 7, 90, None], k=rng.randrange(1, 9))
        ]
        if "max_gap_s" not in form and "counter" not in form and rng.random() < 0.3:
            data[0]["duration_s"] = 1500
        units = rng.choice(["Wh", "kWh", "MWh"] if is_energy else ["W", "kW", "MW"])
        found.append({**message, "units": units, "data": data, **form})
    return found


@pytest.mark.parametrize("seed", range(4))
def test_random_messages_give_the_slots_of_the_reference(service: Service, ship: int, seed: int) -> None:
    """Over HTTP and MQTT, repeated, in any order."""
    rng = random.Random(seed)
    messages = random_messages(rng, ship)
    readings, deletions = list[Reading](), list[Deletion]()
    for each in messages:
        sent_at_us = moment_us(each["sent_at"])
        if "delete" in each:
            start_us, end_us = (moment_us(each["delete"][name]) for name in ("start", "end"))
            deletions.append(Deletion(ship, start_us, end_us, sent_at_us))
        else:
            readings += {row.moment_us: row for row in golden.rows(each, sent_at_us)}.values()
    for each in rng.sample(messages, len(messages)) + messages[:5]:
        if "delete" in each or rng.random() < 0.5:
            send_mqtt(service, each)
        else:
            send_http(service, each)
    expected = [
        {
            "datetime": iso(start_s * 1_000_000),
            "value": pytest.approx(float(slot.kwh), abs=1e-6),
            "covered_seconds": slot.covered_us / 1e6,
            "estimated_seconds": slot.estimated_us / 1e6,
            "provisional": slot.provisional,
        }
        for (_, start_s), slot in sorted(reference.slots(readings, DEFAULT_MAX_GAP_US, deletions).items())
    ]
    path = f"/data?spaceship_id={ship}&detail=true"
    until(lambda: service.get(path)["data"] == expected, f"the slots of random messages, seed {seed}")
