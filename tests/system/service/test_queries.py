"""The queries of the running service: windows, parameters, numbers, the fleet and its greatest users."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import urllib3

from shared.domain.timestamps import iso, moment_us
from tests.support.servers import Service, started
from tests.support.stores import STORES, service_on
from tests.support.waiting import until

SLOT_US = 900_000_000
DAY_US = 96 * SLOT_US
START = "2018-08-24T00:00:00Z"
START_US = moment_us(START)
TIED_US = moment_us("2020-02-02T00:00:00Z")
STEADY_US = moment_us("2020-03-10T00:00:00Z")
STEADY_DAYS = 4


def moment(slot: float, start_us: int = START_US) -> str:
    """Name the start of a slot, counted from another one; a fraction leads into it."""
    return iso(start_us + round(slot * SLOT_US))


def data(values: list[float], start_us: int = START_US) -> list[dict[str, Any]]:
    """Give readings of one slot each."""
    return [{"datetime": moment(slot, start_us), "value": value} for slot, value in enumerate(values)]


def rows(service: Service, path: str) -> list[dict[str, Any]]:
    """GET the rows of an answer."""
    answer = service.get(path)
    found: list[dict[str, Any]] = answer["ships" if path.startswith("/topusers") else "data"]
    return found


def post(service: Service, ship: int, units: str, readings: list[dict[str, Any]]) -> None:
    """POST a batch and wait until it is stored."""
    response = service.post({"spaceship_id": ship, "units": units, "data": readings})
    assert (response.status, response.json()["readings"]) == (202, len(readings)), response.data
    first_us = min(moment_us(each["datetime"]) for each in readings)
    until(
        lambda: rows(service, f"/data?spaceship_id={ship}&start={iso(first_us)}&end={iso(first_us + 1)}"),
        f"the slots of {ship}",
    )


def problem(response: urllib3.BaseHTTPResponse) -> dict[str, Any]:
    """Give what a refusal says, which must be a problem of RFC 9457."""
    assert response.headers["Content-Type"] == "application/problem+json"
    said: dict[str, Any] = response.json()
    assert said["status"] == response.status
    assert said["title"]
    return said


@pytest.fixture(scope="module", params=STORES)
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A new service with the published samples, and on other days ships that use as much as one another."""
    with started(service_on(request, tmp_path_factory.mktemp("fleet") / "data")) as service:
        assert service.get("/topusers") == {"datetime": None, "ships": []}
        assert service.get("/data/fleet") == {"units": "kWh", "data": []}
        post(
            service,
            42,
            "kW",
            [
                {"datetime": "2019-01-05T04:37:00Z", "value": 1302},
                {"datetime": "2019-01-05T04:42:00ZZ", "value": 1200},
                {"datetime": "2019-01-05T05:42:00Z", "value": 3200},
            ],
        )
        post(service, 1, "kWh", [{"datetime": moment(4 * hour), "value": v} for hour, v in enumerate((12, 26, 18))])
        post(
            service,
            2,
            "kW",
            [{"datetime": moment(n / 3), "value": v} for n, v in enumerate((22, 24, 23, 18, 22, 23, 8))],
        )
        post(service, 3, "kWh", data([2, 5, 2, 6]))
        for ship in (12, 10, 11):
            post(service, ship, "kWh", data([0.5, 0.25], TIED_US))
        post(service, 9, "kWh", data([0.25, 0.25], TIED_US))
        post(service, 13, "kWh", data([0.125, 0.625], TIED_US))
        post(service, 20, "kWh", data([0.01] * 96 * STEADY_DAYS, STEADY_US))
        yield service


def test_exports_and_their_tags_on_both_stores(fleet: Service) -> None:
    """Whether the window is open or not; ships of no slots, too."""
    for path in ("/data?spaceship_id=1", "/data/fleet?", "/data?spaceship_id=99999", f"/data/fleet?start={START}"):
        for form in ("json", "csv", "parquet"):
            answer = fleet.request("GET", f"{path}&format={form}&resolution=1d&tz=Europe/Berlin")
            assert answer.status == 200
            again = {"If-None-Match": answer.headers["ETag"]}
            assert (
                fleet.request("GET", f"{path}&format={form}&resolution=1d&tz=Europe/Berlin", None, again).status == 304
            )
    (day,) = rows(fleet, "/data?spaceship_id=1&resolution=1d&tz=Europe/Berlin")
    assert day == {"datetime": "2018-08-24T00:00:00+02:00", "value": 12 + 26 + 18}


def test_the_first_sample_reads_back(fleet: Service) -> None:
    """Ship 42: constant power over each interval, split at the slots' edges; the doubled Z is taken."""
    answer = fleet.get("/data?spaceship_id=42&start=2019-01-03T04:30:00Z&end=2019-01-05T05:42:00Z")
    assert answer == {
        "spaceship_id": 42,
        "units": "kWh",
        "data": [
            {"datetime": "2019-01-05T04:30:00Z", "value": 168.5},
            {"datetime": "2019-01-05T04:45:00Z", "value": 300},
            {"datetime": "2019-01-05T05:00:00Z", "value": 300},
            {"datetime": "2019-01-05T05:15:00Z", "value": 300},
            {"datetime": "2019-01-05T05:30:00Z", "value": 400},
        ],
    }


def test_the_second_sample_reads_back_to_the_letter(fleet: Service) -> None:
    """Ship 1: 12 kWh of an hour are 3, not 3.0, in each of its quarters; the times' parts are joined by dashes."""
    response = fleet.request("GET", "/data?spaceship_id=1&start=2018-08-24T00-00-00Z&end=2018-08-24T01-00-00Z")
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    quarters = ",".join(f'{{"datetime":"2018-08-24T00:{minute}:00Z","value":3}}' for minute in ("00", "15", "30", "45"))
    assert re.sub(r"\s", "", response.data.decode()) == f'{{"spaceship_id":1,"units":"kWh","data":[{quarters}]}}'


@pytest.mark.parametrize(("ship", "values"), [(2, [5.75, 5.25, 0.666667]), (3, [2, 5, 2, 6])])
def test_the_other_samples_read_back(fleet: Service, ship: int, values: list[float]) -> None:
    """Ship 2's kW of every five minutes, ship 3's kWh of every quarter-hour."""
    found = rows(fleet, f"/data?spaceship_id={ship}")
    assert [(row["datetime"], row["value"]) for row in found] == [
        (moment(slot), value) for slot, value in enumerate(values)
    ]


def test_ships_are_told_of_with_their_readings(fleet: Service) -> None:
    """Ship 42 reported three times, long ago; the stretch of its last reading ends within a slot."""
    answer = fleet.get("/ships")
    assert answer["next"] is None
    ships = answer["ships"]
    assert [each["spaceship_id"] for each in ships] == [1, 2, 3, 9, 10, 11, 12, 13, 20, 42]
    silent_for = ships[-1].pop("silent_for")
    assert silent_for > 1e8
    assert ships[-1] == {
        "spaceship_id": 42,
        "first_reading": "2019-01-05T04:37:00Z",
        "last_reading": "2019-01-05T05:42:00Z",
        "ahead": None,
        "cadence": 1950,
        "energy_24h": None,
        "energy_30d": None,
        "whole_share": 0.777778,
    }
    assert fleet.get("/ships/42")["whole_share"] == 0.777778
    found = fleet.get("/ships/42/readings?start=2019-01-05T04:40:00Z&limit=1")
    row = {"datetime": "2019-01-05T04:42:00Z", "value": 1200, "units": "kW", "sent_at": found["data"][0]["sent_at"]}
    assert found == {"spaceship_id": 42, "data": [row], "next": "2019-01-05T05:42:00Z"}
    assert fleet.request("GET", "/ships/4").status == 404


FIRST_HOUR = f"start={moment(0)}&end={moment(4)}"


def test_the_fleets_slots_are_sum_and_average_over_the_ships_that_have_them(fleet: Service) -> None:
    """The last quarter has two ships: the third is not counted as 0."""
    assert fleet.get(f"/data/fleet?{FIRST_HOUR}") == {
        "units": "kWh",
        "data": [
            {"datetime": moment(0), "sum": 10.75, "avg": 3.583333},
            {"datetime": moment(1), "sum": 13.25, "avg": 4.416667},
            {"datetime": moment(2), "sum": 5.666667, "avg": 1.888889},
            {"datetime": moment(3), "sum": 9, "avg": 4.5},
        ],
    }


def test_detail_of_the_fleet_says_how_many_ships_there_are_and_how_many_are_whole(fleet: Service) -> None:
    """Ship 2's newest reading speaks for five minutes, which are provisional."""
    found = rows(fleet, f"/data/fleet?{FIRST_HOUR}&detail=true")
    columns = ("covered_seconds", "provisional", "ships", "whole_ships")
    assert [tuple(row[name] for name in columns) for row in found] == [
        (2700, False, 3, 3),
        (2700, False, 3, 3),
        (2100, True, 3, 2),
        (1800, True, 2, 2),
    ]
    assert all({"datetime", "sum", "avg"} < set(row) for row in found)


def test_the_greatest_users_of_a_window(fleet: Service) -> None:
    """Greatest first; 3 where the count is left out; the window's start beside them."""
    assert fleet.get(f"/topusers?{FIRST_HOUR}") == {
        "datetime": START,
        "ships": [
            {"spaceship_id": 3, "consumption": 15},
            {"spaceship_id": 1, "consumption": 12},
            {"spaceship_id": 2, "consumption": 11.666667},
        ],
    }


def test_the_greatest_users_of_all_time(fleet: Service) -> None:
    """No parameters at all: the first slot of all stands for the start."""
    assert fleet.get("/topusers") == {
        "datetime": START,
        "ships": [
            {"spaceship_id": 42, "consumption": 4508.5},
            {"spaceship_id": 1, "consumption": 56},
            {"spaceship_id": 3, "consumption": 15},
        ],
    }


@pytest.mark.parametrize("window", ["", f"start={START}", f"end={moment(0, STEADY_US + 9 * DAY_US)}"])
def test_an_open_window_reaches_to_the_end_of_what_there_is(fleet: Service, window: str) -> None:
    """A bound that is left out is open, on either side."""
    assert [row["spaceship_id"] for row in rows(fleet, f"/topusers?count=4&{window}")] == [42, 1, 3, 2]
    assert len(rows(fleet, f"/data/fleet?{window}")) == 12 + 9 + 2 + 96 * STEADY_DAYS


TIED = f"start={moment(0, TIED_US)}&end={moment(2, TIED_US)}"


@pytest.mark.parametrize(
    ("count", "ships"),
    [(None, [10, 11, 12]), (1, [10]), (2, [10, 11]), (4, [10, 11, 12, 13]), (5, [10, 11, 12, 13, 9]), (100_000, None)],
)
def test_of_ships_that_use_as_much_the_one_with_the_smaller_id_comes_first(
    fleet: Service, count: int | None, ships: list[int] | None
) -> None:
    """Also where the count cuts between them; a ship without a slot in the window is not named."""
    found = rows(fleet, f"/topusers?{TIED}" + ("" if count is None else f"&count={count}"))
    assert [row["spaceship_id"] for row in found] == (ships or [10, 11, 12, 13, 9])


def test_ties_of_all_time_go_by_id_too(fleet: Service) -> None:
    """The same order without a window, where another way leads to it."""
    found = [row["spaceship_id"] for row in rows(fleet, "/topusers?count=100")]
    assert found == [42, 1, 3, 2, 20, 10, 11, 12, 13, 9]


def test_detail_of_a_top_user_is_its_cover_as_a_share_of_the_window(fleet: Service) -> None:
    """Ship 2 is known for 35 minutes of the hour."""
    found = rows(fleet, f"/topusers?{FIRST_HOUR}&detail=true")
    shares = {row["spaceship_id"]: [value for key, value in row.items() if "cover" in key] for row in found}
    assert shares == {3: [1], 1: [1], 2: [0.583333]}


_STEADY = [
    (0, 1),
    (5, 9),
    (0, 96),
    (95, 97),
    (96, 192),
    (10, 96),
    (96, 100),
    (10, 97),
    (10, 200),
    (96, 300),
    (1, 383),
    (0, 384),
    (-1000, 1000),
    (288, 384),
    (383, 1000),
]


@pytest.mark.parametrize(("first", "end"), _STEADY)
def test_a_window_of_part_days_counts_just_its_slots(fleet: Service, first: int, end: int) -> None:
    """A ship that uses 0.01 kWh in every slot: inside one day, over midnights, whole days, and beyond its data."""
    window = f"start={moment(first, STEADY_US)}&end={moment(end, STEADY_US)}"
    count = min(end, 96 * STEADY_DAYS) - max(first, 0)
    assert rows(fleet, f"/topusers?{window}") == [{"spaceship_id": 20, "consumption": count / 100}]
    assert len(rows(fleet, f"/data?spaceship_id=20&{window}")) == count
    assert len(rows(fleet, f"/data/fleet?{window}")) == count


def test_a_window_without_any_slot_is_an_empty_list(fleet: Service) -> None:
    """Whatever is asked: no data is no error, and never a 0."""
    window = "start=2030-01-01T00:00:00Z&end=2031-01-01T00:00:00Z"
    assert rows(fleet, f"/data?spaceship_id=1&{window}") == []
    assert fleet.get(f"/data/fleet?{window}") == {"units": "kWh", "data": []}
    assert fleet.get(f"/topusers?{window}") == {"datetime": "2030-01-01T00:00:00Z", "ships": []}
    assert fleet.get(f"/topusers?{window}&detail=true")["ships"] == []


SHIP = 3_100_000
VALUES: list[float] = [1, 2.5, 0, 1 / 3, 1e-7, 4]


@pytest.fixture(scope="module")
def quarters(service: Service) -> Service:
    """A service where one ship has six slots, one reading each."""
    post(service, SHIP, "kWh", data(VALUES))
    return service


def found(service: Service, start: str, end: str) -> list[int]:
    """Give the slots of the ship in a window, counted from its first one."""
    asked = rows(service, f"/data?spaceship_id={SHIP}&start={start}&end={end}")
    return [(moment_us(row["datetime"]) - START_US) // SLOT_US for row in asked]


@pytest.mark.parametrize(
    ("start", "end", "slots"),
    [
        (0, 6, [0, 1, 2, 3, 4, 5]),
        (-96, 960, [0, 1, 2, 3, 4, 5]),
        (0, 1, [0]),
        (1, 2, [1]),
        (1, 3, [1, 2]),
        (1.5, 1.6, [1]),
        (1.5, 2, [1]),
        (1.5, 2.000001, [1, 2]),
        (0.999, 1, [0]),
        (0.999, 1.001, [0, 1]),
        (1, 1, []),
        (6, 9, []),
        (-9, 0, []),
        (-9, 0.000001, [0]),
    ],
)
def test_a_window_is_widened_to_whole_slots(quarters: Service, start: float, end: float, slots: list[int]) -> None:
    """[start, end): half-open, so that windows side by side share no slot unless they cut one."""
    assert found(quarters, moment(start), moment(end)) == slots


def test_an_empty_window_inside_a_slot_is_empty(quarters: Service) -> None:
    """There is no moment in it, so there is no slot that it touches."""
    assert found(quarters, moment(1.5), moment(1.5)) == []


@pytest.mark.parametrize(
    "start",
    [
        "2018-08-24T00:15:00Z",
        "2018-08-24T00-15-00Z",
        "2018-08-24T00:15Z",
        "2018-08-24T00-15Z",
        "2018-08-24T00:15:00",
        "2018-08-24T00-15-00",
        "2018-08-24T00-15-00ZZ",
        "2018-08-24T00:15:00.000000Z",
        "2018-08-24T00-29-59.999999Z",
        "2018-08-24T02:15:00+02:00",
        "2018-08-24T02-15-00+02:00",
        "2018-08-24T02:15:00%2B02:00",
        "2018-08-24T02%3A15%3A00%2B0200",
        "2018-08-23T22:15:00-02:00",
        "2018-08-23T22-15-00-02:00",
        "2018-08-24T05%3A45%3A00%2B05%3A30",
    ],
)
def test_moments_are_taken_as_urls_carry_them(quarters: Service, start: str) -> None:
    """Parts joined by `:` or `-`; an offset whose `+` nobody escaped; everything escaped that can be."""
    assert found(quarters, start, "2018-08-24T00-45-00Z") == [1, 2]


def test_an_unknown_ship_is_an_empty_list(quarters: Service, ship: int) -> None:
    """Not an error: it may send its first reading tomorrow."""
    assert quarters.get(f"/data?spaceship_id={ship}&start={START}&end={moment(4)}") == {
        "spaceship_id": ship,
        "units": "kWh",
        "data": [],
    }


def test_numbers_are_whole_or_have_at_most_six_decimals(quarters: Service) -> None:
    """3, not 3.0; and 0 is an answer where readings say that nothing was used."""
    body = quarters.request("GET", f"/data?spaceship_id={SHIP}").data.decode()
    written = re.findall(r'"value": ?([^,}]+)', body)
    assert written == ["1", "2.5", "0", "0.333333", "0", "4"]


def test_detail_adds_cover_and_whether_it_is_provisional(quarters: Service) -> None:
    """Only the newest reading's slot is provisional."""
    detailed = rows(quarters, f"/data?spaceship_id={SHIP}&detail=true")
    plain = rows(quarters, f"/data?spaceship_id={SHIP}")
    assert [{key: row[key] for key in ("datetime", "value")} for row in detailed] == plain
    assert [row["covered_seconds"] for row in detailed] == [900] * len(VALUES)
    assert [row["provisional"] for row in detailed] == [False] * 5 + [True]
    assert plain == rows(quarters, f"/data?spaceship_id={SHIP}&detail=false")


def test_half_a_slot_is_half_covered_and_what_lies_between_does_not_exist(service: Service, ship: int) -> None:
    """A slot without cover appears in no answer."""
    readings = [(0.5, 2), (400, 3)]
    post(service, ship, "kWh", [{"datetime": moment(slot), "value": value} for slot, value in readings])
    until(lambda: len(rows(service, f"/data?spaceship_id={ship}")) == 3, "three slots")
    assert rows(service, f"/data?spaceship_id={ship}&detail=true") == [
        {
            "datetime": moment(slot),
            "value": value,
            "covered_seconds": covered_s,
            "estimated_seconds": covered_s,
            "provisional": provisional,
        }
        for slot, value, covered_s, provisional in ((0, 1, 450, False), (1, 1, 450, False), (400, 3, 900, True))
    ]


WINDOW = f"start={START}&end={moment(4)}"


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/data", ["spaceship_id"]),
        (f"/data?{WINDOW}", ["spaceship_id"]),
        (f"/data?spaceship_id=&{WINDOW}", ["spaceship_id"]),
        (f"/data?spaceship_id=ship&{WINDOW}", ["spaceship_id"]),
        (f"/data?spaceship_id=-1&{WINDOW}", ["spaceship_id"]),
        (f"/data?spaceship_id=1.5&{WINDOW}", ["spaceship_id"]),
        (f"/data?spaceship_id={2**53}&{WINDOW}", ["spaceship_id"]),
        (f"/data?spaceship_id={'9' * 5000}&{WINDOW}", ["spaceship_id"]),
        (f"/data?spaceship_id=%ff&{WINDOW}", ["spaceship_id"]),
        (f"/data?spaceship_id=1%00&{WINDOW}", ["spaceship_id"]),
        (f"/data?spaceship_id=1&spaceship_id=1&{WINDOW}", ["spaceship_id"]),
        (f"/data?spaceship_id=1&spaceship_id=2&{WINDOW}", ["spaceship_id"]),
        ("/data?spaceship_id=1&start=yesterday", ["start"]),
        ("/data?spaceship_id=1&start=", ["start"]),
        ("/data?spaceship_id=1&start=2018-08", ["start"]),
        ("/data?spaceship_id=1&start=2018-02-30T00:00:00Z", ["start"]),
        ("/data?spaceship_id=1&start=1969-12-31T23:59:59Z", ["start"]),
        ("/data?spaceship_id=1&end=2201-02-30T00:00:00Z", ["end"]),
        ("/data?spaceship_id=1&end=1535068800", ["end"]),
        ("/data?spaceship_id=1&end=" + quote("2018-08-24T00:00:00Z' OR 1=1; --"), ["end"]),
        (f"/data?spaceship_id=1&start={moment(4)}&end={START}", ["end"]),
        (f"/data?spaceship_id=1&start={START}&end=2018-08-24T01:59:59%2B02:00", ["end"]),
        (f"/data?spaceship_id=1&start={START}&{WINDOW}", ["start"]),
        (f"/data?spaceship_id=1&{WINDOW}&end={START}", ["end"]),
        (f"/data?spaceship_id=1&{WINDOW}&detail=maybe", ["detail"]),
        (f"/data?spaceship_id=1&{WINDOW}&count=3", ["count"]),
        (f"/data?spaceship_id=1&{WINDOW}&form=now", ["form"]),
        (f"/data?spaceship_id=1&{WINDOW}&Start={START}", ["Start"]),
        ("/data?ship=1&start=x&end=y&detail=z", ["detail", "end", "ship", "spaceship_id", "start"]),
        (f"/data/fleet?spaceship_id=1&{WINDOW}", ["spaceship_id"]),
        (f"/data/fleet?start={moment(4)}&end={START}", ["end"]),
        ("/data/fleet?start=x&end=y", ["end", "start"]),
        ("/data/fleet?detail=", ["detail"]),
        ("/topusers?count=0", ["count"]),
        ("/topusers?count=-1", ["count"]),
        ("/topusers?count=", ["count"]),
        ("/topusers?count=1.5", ["count"]),
        ("/topusers?count=all", ["count"]),
        (f"/topusers?count={'9' * 5000}", ["count"]),
        ("/topusers?count=3&count=3", ["count"]),
        ("/topusers?counts=3", ["counts"]),
        ("/topusers?spaceship_id=1", ["spaceship_id"]),
        (f"/topusers?start={moment(4)}&end={START}", ["end"]),
        ("/topusers?start=x&count=y", ["count", "start"]),
    ],
)
def test_wrong_parameters_are_422_and_named(service: Service, path: str, named: list[str]) -> None:
    """Every one that is wrong, missing, unknown or given twice, each with a sentence."""
    response = service.request("GET", path)
    assert response.status == 422
    errors = problem(response)["errors"]
    assert sorted(each["at"] for each in errors) == named
    assert all(each["problem"] for each in errors)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/data/1/", 404),
        ("GET", "/data/1", 404),
        ("GET", "/DATA?spaceship_id=1", 404),
        ("GET", "/data/../topusers/..%2f", 404),
        ("GET", "/static/x", 404),
        ("POST", "/nowhere", 404),
        ("DELETE", "/nowhere", 404),
        ("POST", "/topusers", 405),
        ("POST", "/data/fleet", 405),
        ("DELETE", "/data/fleet", 405),
        ("DELETE", "/topusers", 405),
        ("PUT", "/data", 405),
        ("PATCH", "/data", 405),
        ("TRACE", "/data", 405),
        ("BREW", "/data", 405),
    ],
)
def test_wrong_paths_and_methods_are_problems(service: Service, method: str, path: str, status: int) -> None:
    """404 where there is nothing, 405 where there is something else to do, also with a body."""
    body = json.dumps({"spaceship_id": 1}).encode() if method != "GET" else None
    response = service.request(method, path, body, {"Content-Type": "application/json"})
    assert response.status == status
    problem(response)


@pytest.mark.parametrize(
    ("path", "methods"), [("/data", {"GET", "POST", "DELETE"}), ("/data/fleet", {"GET"}), ("/topusers", {"GET"})]
)
def test_a_405_names_all_the_methods_that_are_allowed(service: Service, path: str, methods: set[str]) -> None:
    """RFC 9110, section 15.5.6: also where two services share the path."""
    allowed = set(re.split(r", *", service.request("PUT", path).headers["Allow"]))
    assert methods <= allowed
    assert not allowed & {"PUT", "PATCH"}
    assert allowed & {"POST", "DELETE"} == methods & {"POST", "DELETE"}


def test_a_head_request_gets_the_head_alone(service: Service) -> None:
    """RFC 9110: identity means not encoded."""
    response = service.request("HEAD", "/topusers")
    assert (response.status, response.data) == (200, b"")
