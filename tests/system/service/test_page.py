"""The page in a real browser, over the real service."""

import shlex
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import paho.mqtt.publish as paho
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from shared.domain.timestamps import moment_us
from shared.http.tokens import dump
from shared.store.sqlite import SqliteStore
from tests.support.browser import NARROW, WIDE, Visitor, started_browser
from tests.support.columns import as_columns
from tests.support.influxdb2 import new_influxdb
from tests.support.servers import HOST, Service, started
from tests.support.store_contract import START_S, slots_of
from tests.support.tokens import secret_of, token
from tests.support.waiting import until

Visit = Callable[..., Visitor]
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
STEADY, HOLED, QUIET = 1, 2, 3


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    with started_browser() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Opens tabs."""
    visitors: list[Visitor] = []

    def visit(service: Service, **options: Any) -> Visitor:
        visitors.append(Visitor(browser, f"http://{HOST}:{service.port}", **options))
        return visitors[-1]

    yield visit
    for each in visitors:
        each.leave()


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts services for one test alone."""
    services: list[Service] = []

    def make(**environ: str) -> Service:
        services.append(Service(tmp_path / "data", **environ))
        services[-1].start()
        return services[-1]

    yield make
    for each in services:
        assert each.stop() == 0


def _batch(ship: int, hours: list[int], kwh: float = 12) -> dict[str, Any]:
    """Energy of whole hours, so many before now."""
    data = [{"datetime": f"{NOW - timedelta(hours=each):%Y-%m-%dT%H:%M:%SZ}", "value": kwh} for each in hours]
    return {"spaceship_id": ship, "units": "kWh", "data": data}


def _send(service: Service, batch: dict[str, Any], **headers: str) -> None:
    assert service.post(batch, Prefer="wait=10", **headers).status == 201


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with three ships: a steady one, one with gaps, one that is silent; and a dead letter."""
    with started(Service(tmp_path_factory.mktemp("fleet") / "data")) as service:
        _send(service, _batch(STEADY, list(range(72, -1, -1))))
        _send(service, _batch(HOLED, [100, 99, 40, 39, 38, 2, 1, 0], kwh=1))
        _send(service, _batch(QUIET, list(range(60, 10, -1)), kwh=100))
        paho.single("ships/9/readings", '{"units": "J", "data": []}', qos=1, hostname=HOST, port=service.mqtt_port)
        until(lambda: service.get("/dead-letters")["count"], "the dead letter is kept")
        yield service


def _figure(page: Page, name: str) -> str:
    return page.locator(f"[data-tile={name}] dd").first.inner_text()


def _row(page: Page, ship: int) -> str:
    row = page.locator("#ships tbody tr").filter(has=page.get_by_role("link", name=str(ship), exact=True))
    return row.inner_text()


def test_an_empty_service_says_how_to_send_the_first_reading(
    make_service: Callable[..., Service], visit: Visit
) -> None:
    """And what it says works, word for word; the page shows that reading by itself."""
    visitor = visit(make_service())
    visitor.page.clock.install()
    page = visitor.open()
    expect(page.get_by_role("heading", name="No energy yet")).to_be_visible()
    expect(page.locator("#fleet-view")).to_be_hidden()
    command = shlex.split(page.locator("#by-http").inner_text().replace("\\\n", ""))
    subprocess.run([*command, "-H", "Prefer: wait=10", "--fail"], check=True, capture_output=True)
    page.clock.fast_forward(30_000)
    expect(page.get_by_role("heading", name="Ship 42")).to_be_visible()
    expect(page.locator("#empty")).to_be_hidden()


def test_what_was_posted_a_moment_ago_is_shown(service: Service, ship: int, visit: Visit) -> None:
    """On either store."""
    moment = "2020-02-29T10:00:00Z"
    batch = {"spaceship_id": ship, "units": "kWh", "data": [{"datetime": moment, "value": 12.5}]}
    _send(service, batch)
    page = visit(service).open(f"/?ship={ship}&from=2020-02-29T00:00Z&to=2020-03-01T00:00Z")
    expect(page.locator("#ship-title")).to_have_text(f"Ship {ship}")
    expect(page.locator("#slots > .says")).to_contain_text("12.5 kWh")
    expect(page.locator("#readings > .says")).to_contain_text("1 reading")
    expect(page.locator("#slots .main-svg").first).to_be_visible()


def test_it_looks_again_by_itself(fleet: Service, ship: int, visit: Visit) -> None:
    _send(fleet, _batch(ship, [0], kwh=1))
    visitor = visit(fleet)
    visitor.page.clock.install()
    page = visitor.open(f"/?ship={ship}&range=24h")
    expect(page.locator("#slots > .says")).to_contain_text("1 kWh")
    _send(fleet, _batch(ship, [0], kwh=7))
    page.clock.fast_forward(30_000)
    expect(page.locator("#slots > .says")).to_contain_text("7 kWh")


def test_the_fleet_its_top_ships_and_who_is_silent_or_has_gaps(fleet: Service, visit: Visit) -> None:
    page = visit(fleet).open("/?range=all")
    expect(page.locator("#leaders tbody tr").first).to_contain_text("5 MWh")
    assert "✓ reporting" in _row(page, STEADY)
    assert "▲ silent for" in _row(page, QUIET)
    assert "◪ gaps" in _row(page, HOLED)
    assert _figure(page, "silent").startswith("▲ ")
    assert _figure(page, "letters") == "▲ 1"
    assert _figure(page, "pipeline") == "✓ works"
    expect(page.locator("#dead tbody")).to_contain_text("units should be 'W', 'kW', 'MW', 'Wh', 'kWh' or 'MWh'")
    expect(page.locator("#health")).to_contain_text("✓ connected")


def test_a_ship_whose_clock_is_ahead_is_told_and_hides_nobody(fleet: Service, visit: Visit) -> None:
    """One that has readings of the future only. They are not taken any more: they were stored before."""
    store, ahead = SqliteStore(fleet.folder), 1008
    far = as_columns([(ahead, moment_us("2150-01-01T00:00Z"), 6.0, False, 0)])
    with store.transaction():
        store.put_readings(far)
        store.put_slots(slots := slots_of((ahead, 96 * 365 * 130, 1.0, 900.0, True)), slots.emptied())
    page = visit(fleet).open()
    assert "▲ silent until now, ▶ clock ahead: 2150-01-01 00:00" in _row(page, ahead)
    assert f"{NOW:%Y-%m-%d}" in _row(page, STEADY)
    expect(page.locator("#trouble")).to_be_hidden()
    page = visit(fleet).open(f"/?ship={ahead}")
    expect(page.locator("#facts")).to_contain_text("clock ahead")
    with store.transaction():
        store.put_slots(slots.emptied(), slots)
    store.close()


def test_another_ship_and_range_are_chosen_and_gone_back_from(fleet: Service, visit: Visit) -> None:
    visitor = visit(fleet)
    page = visitor.open("/?range=all")
    page.locator("#ships").get_by_role("link", name=str(STEADY), exact=True).click()
    expect(page.locator("#ship-title")).to_have_text(f"Ship {STEADY}")
    expect(page.locator("#ship-title")).to_be_focused()
    page.get_by_role("button", name="24 h", exact=True).click()
    expect(page.locator("#slots > .says")).to_contain_text("columns of 15 min")
    assert f"ship={STEADY}&range=24h" in page.url
    page.get_by_label("From (UTC)").fill(f"{NOW - timedelta(hours=6):%Y-%m-%dT%H:%M}")
    page.get_by_label("to", exact=True).fill(f"{NOW - timedelta(hours=4):%Y-%m-%dT%H:%M}")
    page.locator("#range").get_by_role("button", name="Show").click()
    expect(page.locator("#slots > .says")).to_contain_text("24 kWh in 8 columns")
    expect(page.locator("#fleet > .says")).to_contain_text("24 kWh from 1 ship")
    expect(page.locator("#leaders tbody")).to_have_text(f"{STEADY}24 kWh100 %")
    page.go_back()
    expect(page.get_by_role("button", name="24 h", exact=True)).to_have_attribute("aria-pressed", "true")
    page.go_back()
    expect(page.get_by_role("button", name="All", exact=True)).to_have_attribute("aria-pressed", "true")
    visitor.updated()


def test_cover_and_provisional_slots_are_marked_in_words_too(fleet: Service, ship: int, visit: Visit) -> None:
    start = NOW - timedelta(days=3)
    moments = [f"{start + timedelta(minutes=each):%Y-%m-%dT%H:%M:%SZ}" for each in (0, 15, 35)]
    data = [{"datetime": each, "value": 4} for each in moments]
    _send(fleet, {"spaceship_id": ship, "units": "kW", "data": data})
    window = f"from={start:%Y-%m-%dT%H:%MZ}&to={start + timedelta(hours=2):%Y-%m-%dT%H:%MZ}"
    page = visit(fleet).open(f"/?ship={ship}&{window}")
    expect(page.locator("#slots > .says")).to_contain_text("provisional")
    page.locator("#slots summary").click()
    expect(page.locator("#slots details tbody tr").last).to_contain_text("provisional")
    expect(page.locator("#slots details tbody tr").first).to_contain_text("100 %")


def test_a_forecast_says_what_is_expected_or_why_not(fleet: Service, ship: int, visit: Visit) -> None:
    _send(fleet, _batch(ship, [1, 0]))
    page = visit(fleet).open(f"/?ship={STEADY}")
    expect(page.locator("#forecast > .says")).to_contain_text("90 % interval:")
    page.get_by_label("Another ship").fill(str(ship))
    page.get_by_label("Another ship").press("Enter")
    expect(page.locator("#forecast > .says")).to_have_text("A forecast needs at least a day of readings before it.")


def test_the_forecasts_of_the_last_days_are_compared_with_what_came(fleet: Service, ship: int, visit: Visit) -> None:
    _send(fleet, _batch(ship, [1, 0]))
    page = visit(fleet).open(f"/?ship={STEADY}")
    expect(page.locator("#accuracy > .says")).to_contain_text("within the 90 % interval.")
    page.locator("#accuracy summary").click()
    expect(page.locator("#accuracy details tbody tr").first).to_contain_text("-")
    page.get_by_label("Another ship").fill(str(ship))
    page.get_by_label("Another ship").press("Enter")
    expect(page.locator("#accuracy > .says")).to_contain_text("None of the last 30 days")
    expect(page.locator("#accuracy details")).to_be_hidden()


def test_a_part_that_cannot_be_had_says_so_and_nothing_of_another_ship_stays(
    fleet: Service, ship: int, visit: Visit
) -> None:
    """Of a day with one known hour in it there is no forecast."""
    _send(fleet, _batch(ship, [60, 1]))
    visitor = visit(fleet)
    visitor.refusals = (422,)
    page = visitor.open(f"/?ship={STEADY}")
    page.locator("#forecast summary").click()
    expect(page.locator("#forecast details tbody tr")).to_have_count(96)
    page.get_by_label("Another ship").fill(str(ship))
    page.get_by_label("Another ship").press("Enter")
    expect(page.locator("#forecast > .problem")).to_contain_text("there is too little history")
    expect(page.locator("#slots > .says")).to_contain_text("24 kWh in")
    expect(page.locator("#forecast > .says")).to_be_empty()
    expect(page.locator("#forecast > .chart")).to_be_hidden()
    expect(page.locator("#forecast details")).to_be_hidden()
    page.go_back()
    expect(page.locator("#forecast > .says")).to_contain_text("90 % interval:")
    expect(page.locator("#forecast > .problem")).to_be_hidden()
    expect(page.locator("#forecast .main-svg").first).to_be_visible()


def test_outside_of_what_a_ship_reported_a_link_leads_there(fleet: Service, visit: Visit) -> None:
    visitor = visit(fleet)
    page = visitor.open(f"/?ship={STEADY}&from=2010-01-01T00:00Z&to=2011-01-01T00:00Z")
    expect(page.locator("#slots > .says")).to_contain_text("No readings in this range: the ship has readings from")
    expect(page.locator("#slots > .chart")).to_be_hidden()
    page.get_by_role("link", name="Show the range with readings").click()
    expect(page.locator("#slots > .says")).to_contain_text("876 kWh in 73 columns of 1 h")
    expect(page.locator(".elsewhere")).to_be_hidden()
    visitor.updated()


def test_years_are_in_columns_of_months(fleet: Service, visit: Visit) -> None:
    page = visit(fleet).open(f"/?ship={STEADY}&from=2020-01-01T00:00Z&to={NOW:%Y-%m-%dT%H:%MZ}")
    expect(page.locator("#slots > .says")).to_contain_text("of 1 month:")
    expect(page.locator("#fleet > .says")).to_contain_text("Each column is 1 month.")


def test_with_the_store_away_it_says_so_and_goes_on_when_it_is_back(
    make_service: Callable[..., Service], tmp_path: Path, visit: Visit
) -> None:
    """What was known before stays."""
    influxdb = new_influxdb(tmp_path)
    influxdb.start()
    own = make_service(store="influxdb", **influxdb.environ("power"))
    _send(own, _batch(5, [2, 1]))
    visitor = visit(own)
    visitor.refusals = (503,)
    visitor.page.clock.install()
    page = visitor.open()
    expect(page.locator("#slots > .says")).to_contain_text("kWh in")
    influxdb.kill()
    page.clock.fast_forward(30_000)
    expect(page.locator("#trouble")).to_have_text("The service cannot answer this now. The page will try again.")
    expect(page.locator("[data-tile=pipeline]")).to_contain_text("✗ 1 fault")
    expect(page.locator("#slots > .says")).to_contain_text("kWh in")
    influxdb.start()
    page.clock.fast_forward(30_000)
    expect(page.locator("#trouble")).to_be_hidden()
    expect(page.locator("[data-tile=pipeline]")).to_contain_text("✓ works")
    visitor.updated()
    influxdb.stop()


def test_a_ship_that_nobody_heard_of_is_one_sentence(fleet: Service, visit: Visit) -> None:
    visitor = visit(fleet)
    visitor.refusals = (404,)
    page = visitor.open("/?ship=123456")
    expect(page.locator("#ship > .problem")).to_have_text("Ship 123456 is unknown: no reading of it is stored.")


def test_a_ship_without_energy_is_not_unknown(fleet: Service, visit: Visit) -> None:
    """Such as after the first reading of a meter's counter."""
    data = [{"datetime": "2019-01-05T00:00:00Z", "value": 1000}]
    meter = {"spaceship_id": 123457, "units": "kWh", "counter": True, "data": data}
    assert fleet.post(meter, Prefer="wait=20").status == 201
    visitor = visit(fleet)
    visitor.refusals = (404,)
    page = visitor.open("/?ship=123457")
    expect(page.locator("#ship > .problem")).to_contain_text("Ship 123457 has no energy yet")


def test_the_table_of_readings_has_their_kinds_and_no_zero_where_the_value_is_unknown(
    fleet: Service, visit: Visit
) -> None:
    data = [{"datetime": f"2019-01-05T0{hour}:00:00Z", "value": value} for hour, value in ((0, 3), (1, None), (2, 5))]
    batch = {"spaceship_id": 123458, "units": "kW", "stamp": "end", "data": data}
    assert fleet.post(batch, Prefer="wait=20").status == 201
    page = visit(fleet).open("/?ship=123458&from=2019-01-05&to=2019-01-06")
    page.locator("#readings summary").click()
    rows = page.locator("#readings tbody tr")
    expect(rows).to_have_count(3)
    none = "\N{EN DASH}"
    kinds = [[cell.inner_text() for cell in row.locator("th, td").all()[1:4]] for row in rows.all()]
    assert kinds == [["5", "kW", "mean power"], [none, none, "unknown"], ["3", "kW", "mean power"]]


def test_a_range_that_cannot_be_read_is_an_error_and_not_another_range(fleet: Service, visit: Visit) -> None:
    visitor = visit(fleet)
    page = visitor.page
    for stretch, why in (
        ("from=2019-01-06T00:00Z&to=2019-01-05T00:00Z", "The range ends before it begins."),
        ("from=2019-01-05T00:00Z&to=2019-01-05T00:00Z", "The range ends before it begins."),
        ("from=yesterday&to=2019-01-05T00:00Z", "“from” should be a time"),
        ("from=2019-02-30T00:00Z&to=2019-03-05T00:00Z", "not “2019-02-30T00:00Z”"),
        ("from=2019-01-05T00:00Z", "“to” should be a time such as"),
        ("from=1960-01-01&to=2019-01-06", "The range is not within 1970 to 2199."),
        ("from=2019-01-05&to=2200-01-02", "The range is not within 1970 to 2199."),
        ("range=8d", "“8d” is not a range: there are 24h, 7d, 30d, 1y, all, or from and to."),
        ("range=toString", "“toString” is not a range"),
    ):
        visitor.open(f"/?ship={STEADY}&{stretch}")
        expect(page.locator("#range-problem")).to_contain_text(why)
        for part in ("#fleet", "#leaders", "#ship"):
            expect(page.locator(part)).to_be_hidden()
        assert "Wh" not in _figure(page, "energy")
        expect(page.locator("[data-range][aria-pressed=true]")).to_have_count(0)
    assert not [each for each in visitor.asked if "/data" in each or "/topusers" in each]
    page.get_by_role("button", name="24 h", exact=True).click()
    expect(page.locator("#ship-title")).to_have_text(f"Ship {STEADY}")
    expect(page.locator("#range-problem")).to_be_hidden()
    expect(page.locator("#fleet > .says")).to_contain_text("Each column is 15 min.")


def test_a_time_in_the_address_is_utc_where_it_says_nothing_else(fleet: Service, visit: Visit) -> None:
    visitor = visit(fleet, timezone_id="America/New_York")
    for time in ("04:00", "04:00Z", "05:00%2B01:00", "05:00+01:00", "03:00-01:00"):
        page = visitor.open(f"/?from=2019-01-05T{time}&to=2019-01-06")
        expect(page.locator("#range-note")).to_have_text("2019-01-05 04:00 to 2019-01-06 00:00 UTC.")


def test_a_ship_that_is_no_number_is_an_error_and_not_another_ship(fleet: Service, visit: Visit) -> None:
    visitor = visit(fleet)
    page = visitor.page
    for number in ("abc", "-1", "1.5", "", "9007199254740992", "99999999999999999", "<b>1</b>"):
        visitor.open(f"/?ship={number}&range=24h")
        expect(page.locator("#ship > .problem")).to_have_text(
            f"“{number}” is not a ship: its number is a whole one up to 9007199254740991."
        )
        expect(page.locator("#ship-title")).to_have_text("Ship")
        for part in ("#facts", "#slots", "#forecast", "#readings", "#accuracy", "#deletions"):
            expect(page.locator(part)).to_be_hidden()
    expect(page.locator("#fleet > .says")).to_contain_text("Each column is 15 min.")
    assert not [each for each in visitor.asked if "spaceship_id" in each]


def test_estimated_energy_is_marked(fleet: Service, ship: int, visit: Visit) -> None:
    start = NOW - timedelta(days=4)
    moments = [f"{start + timedelta(hours=each):%Y-%m-%dT%H:%M:%SZ}" for each in (0, 1, 4, 5)]
    data = [{"datetime": each, "value": 4} for each in moments]
    _send(fleet, {"spaceship_id": ship, "units": "kW", "data": data})
    window = f"from={start:%Y-%m-%dT%H:%MZ}&to={start + timedelta(hours=5):%Y-%m-%dT%H:%MZ}"
    page = visit(fleet).open(f"/?ship={ship}&{window}")
    expect(page.locator("#slots > .says")).to_contain_text("20 columns of 15 min: 8 whole, 12 estimated.")
    expect(page.locator("#slots .legend")).to_contain_text("estimated")


def test_a_meter_that_sends_power_and_energy_is_asked_about(fleet: Service, ship: int, visit: Visit) -> None:
    for seconds, units in ((0, "kWh"), (2, "kW")):
        moments = [NOW - timedelta(minutes=15 * each) + timedelta(seconds=seconds) for each in range(1, 5)]
        data = [{"datetime": f"{each:%Y-%m-%dT%H:%M:%SZ}", "value": 3} for each in moments]
        _send(fleet, {"spaceship_id": ship, "units": units, "data": data})
    page = visit(fleet).open(f"/?ship={ship}&range=24h")
    expect(page.locator("#warnings")).to_have_text("Power and energy readings alternate: is this one meter?")
    page.get_by_label("Another ship").fill(str(STEADY))
    page.get_by_label("Another ship").press("Enter")
    expect(page.locator("#ship-title")).to_have_text(f"Ship {STEADY}")
    expect(page.locator("#warnings")).to_be_hidden()


def test_readings_are_deleted_in_a_dialog_and_the_list_tells_it(fleet: Service, ship: int, visit: Visit) -> None:
    """Without tokens everybody may."""
    _send(fleet, _batch(ship, [5, 4, 3, 2], kwh=7))
    page = visit(fleet).open(f"/?ship={ship}&range=24h")
    expect(page.locator("#slots > .says")).to_contain_text("28 kWh in")
    expect(page.locator("#deletions > .says")).to_have_text("Nothing was deleted.")
    expect(page.locator("#deletions details")).to_be_hidden()
    page.get_by_role("button", name="Delete readings …").click()
    dialog = page.get_by_role("dialog", name=f"Delete readings of ship {ship}")
    start, end = NOW - timedelta(hours=4), NOW - timedelta(hours=2)
    dialog.get_by_label("Start (UTC)").fill(f"{end:%Y-%m-%dT%H:%M}")
    dialog.get_by_label("End (UTC)").fill(f"{start:%Y-%m-%dT%H:%M}")
    expect(dialog).to_contain_text("The span ends before it begins.")
    dialog.get_by_role("button", name="Delete the readings").click()
    expect(dialog.locator(".problem")).to_have_text("The span ends before it begins.")
    dialog.get_by_label("Start (UTC)").fill(f"{start:%Y-%m-%dT%H:%M}")
    dialog.get_by_label("End (UTC)").fill(f"{end:%Y-%m-%dT%H:%M}")
    expect(dialog).to_contain_text(f"All readings of ship {ship} in 2 h will be deleted for good.")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Delete readings …").click()
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.locator("#deletions > .says")).to_have_text("Nothing was deleted.")
    assert len(fleet.get(f"/ships/{ship}/readings")["data"]) == 4
    page.get_by_role("button", name="Delete readings …").click()
    dialog.get_by_label("Start (UTC)").fill(f"{start:%Y-%m-%dT%H:%M}")
    dialog.get_by_label("End (UTC)").fill(f"{end:%Y-%m-%dT%H:%M}")
    dialog.get_by_role("button", name="Delete the readings").click()
    span = f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}"
    expect(page.locator("#delete-done")).to_have_text(f"Deleted: the readings of ship {ship} from {span}.")
    expect(page.locator("#deletions > .says")).to_have_text("Deleted in 1 span of time.")
    page.locator("#deletions summary").click()
    expect(page.locator("#deletions tbody tr")).to_contain_text(span.replace(" to ", ""))
    assert len(fleet.get(f"/ships/{ship}/readings")["data"]) == 2
    assert [row["end"] for row in fleet.get(f"/ships/{ship}/deletions")["data"]] == [f"{end:%Y-%m-%dT%H:%M:%SZ}"]


def test_what_a_wrong_clock_has_stamped_is_what_the_dialog_proposes_to_delete(
    fleet: Service, ship: int, visit: Visit
) -> None:
    """The last reading that can be stored, too; then the ship is as it was."""
    _send(fleet, _batch(ship, [2, 1], kwh=7))
    _store_far(fleet, ship)
    page = visit(fleet).open(f"/?ship={ship}&range=all")
    expect(page.locator("#facts")).to_contain_text("clock ahead: 2199-12-31 23:")
    page.get_by_role("button", name="Delete readings …").click()
    page.get_by_role("button", name="Delete the readings").click()
    expect(page.locator("#delete-done")).to_contain_text("to 2199-12-31 23:59.")
    expect(page.locator("#facts")).not_to_contain_text("clock ahead")
    assert [row["value"] for row in fleet.get(f"/ships/{ship}/readings")["data"]] == [7, 7]


def test_all_ends_with_the_last_reading_up_to_now(fleet: Service, ship: int, visit: Visit) -> None:
    """A reading of 2199 is in no figure of it."""
    _send(fleet, _batch(ship, [2], kwh=7))
    page = visit(fleet).open(f"/?ship={ship}&range=all")
    before = [page.locator(each).inner_text() for each in ("#range-note", "#leaders tbody", "#fleet > .says")]
    _store_far(fleet, ship)
    page = visit(fleet).open(f"/?ship={ship}&range=all")
    assert before == [page.locator(each).inner_text() for each in ("#range-note", "#leaders tbody", "#fleet > .says")]
    expect(page.locator("#facts")).to_contain_text("clock ahead: 2199-12-31 23:")
    response = fleet.request("DELETE", f"/data?spaceship_id={ship}&start=2199-01-01&end=2199-12-31T23:59Z")
    assert response.status == 202


def _store_far(service: Service, ship: int) -> None:
    """Store a reading of 2199, as it was before such were refused."""
    store = SqliteStore(service.folder)
    far_us = moment_us("2199-12-31T23:50:00Z")
    with store.transaction():
        store.put_readings(as_columns([(ship, far_us, 6.0, False, 0)]))
        at = (far_us // 1_000_000 - START_S) // 900
        store.put_slots(slots := slots_of((ship, at, 1e6, 600.0, True)), slots.emptied())
    store.close()


def test_only_an_admin_may_delete_and_what_the_service_refuses_is_said(
    make_service: Callable[..., Service], tmp_path: Path, visit: Visit
) -> None:
    tokens = tmp_path / "tokens.jsonl"
    tokens.write_text(dump([token("reader", "read"), token("chief", "admin")]), "utf-8")
    own = make_service(POWER_API_TOKENS_FILE=str(tokens))
    _send(own, _batch(5, [2, 1], kwh=7), Authorization=f"Bearer {secret_of('chief')}")
    visitor = visit(own)
    visitor.refusals = (401, 403)
    page = visitor.page
    page.goto("/")
    page.locator("#token").fill(secret_of("reader"))
    page.keyboard.press("Enter")
    expect(page.locator("#deletions > .says")).to_have_text("Nothing was deleted.")
    expect(page.locator("#delete-open")).to_be_hidden()
    page.evaluate("sessionStorage.setItem('power-api-token', $)".replace("$", repr(secret_of("chief"))))
    page.reload()
    page.get_by_role("button", name="Delete readings …").click()
    tokens.write_text(dump([token("reader", "read"), token("chief", "read")]), "utf-8")
    until(lambda: own.request("GET", "/access", headers=_bearer("chief")).json()["role"] == "read", "it may no more")
    page.get_by_role("button", name="Delete the readings").click()
    expect(page.locator("#delete .problem")).to_contain_text("a token with the role ingest is needed")
    expect(page.get_by_role("dialog")).to_be_visible()


def _bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret_of(name)}"}


def test_the_table_is_sorted_and_filtered_by_keyboard_alone(fleet: Service, visit: Visit) -> None:
    page = visit(fleet).open()
    head = page.locator("#ships").get_by_role("button", name="Last 30 days")
    head.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#ships tbody tr").first).to_contain_text("5 MWh")
    expect(page.locator("#ships th[aria-sort=descending]")).to_have_text("Last 30 days")
    page.keyboard.press("Enter")
    expect(page.locator("#ships th[aria-sort=ascending]")).to_have_text("Last 30 days")
    expect(page.locator("#ships tbody tr").first).not_to_contain_text("MWh")
    page.get_by_label("State").select_option("gaps")
    expect(page.locator("#ships tbody")).to_contain_text("◪ gaps")
    expect(page.locator("#ships tbody")).not_to_contain_text("✓ reporting")
    page.get_by_label("Ship number").fill("77777")
    expect(page.locator("#ships > .says")).to_have_text("No ship matches.")


def test_the_first_key_leads_past_the_head_of_the_page(fleet: Service, visit: Visit) -> None:
    page = visit(fleet).open()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_with_tokens_it_asks_for_one_and_keeps_it_in_the_tab(
    make_service: Callable[..., Service], tmp_path: Path, visit: Visit
) -> None:
    tokens = tmp_path / "tokens.jsonl"
    tokens.write_text(dump([token("reader", "read"), token("sender", "ingest")]), "utf-8")
    own = make_service(POWER_API_TOKENS_FILE=str(tokens))
    _send(own, _batch(5, [1, 0]), Authorization=f"Bearer {secret_of('sender')}")
    visitor = visit(own)
    visitor.refusals = (401, 403)
    page = visitor.page
    page.goto("/")
    for secret, answer in (
        (None, "Its data can be read with an access token only."),
        ("wrong", "The access token is unknown to the service."),
        (secret_of("sender"), "a token with the role read is needed"),
    ):
        if secret:
            page.locator("#token").fill(secret)
            page.keyboard.press("Enter")
        expect(page.locator("#door-why")).to_contain_text(answer)
        expect(page.locator("#fleet-view")).to_be_hidden()
    page.locator("#token").fill(secret_of("reader"))
    page.keyboard.press("Enter")
    expect(page.locator("#ship-title")).to_have_text("Ship 5")
    expect(page.locator("#door")).to_be_hidden()
    page.reload()
    expect(page.locator("#ship-title")).to_have_text("Ship 5")
    page.get_by_role("button", name="Forget the token").click()
    expect(page.locator("#door")).to_be_visible()


def test_on_a_phone_nothing_hangs_over_the_edge(fleet: Service, visit: Visit) -> None:
    page = visit(fleet, viewport=NARROW, has_touch=True).open(f"/?ship={STEADY}&range=all")
    expect(page.locator("#slots .main-svg").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]


def test_dark_is_as_the_system_says_or_as_chosen(fleet: Service, visit: Visit) -> None:
    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    page = visit(fleet, color_scheme="dark").open()
    dark = ground()
    page.get_by_label("Theme").select_option("light")
    light = ground()
    assert sum(map(int, light[4:-1].split(","))) > 600 > sum(map(int, dark[4:-1].split(",")))
    page.reload()
    assert ground() == light
    page.get_by_label("Theme").select_option("system")
    assert ground() == dark


@pytest.mark.parametrize(("scheme", "viewport"), [("light", WIDE), ("dark", NARROW)], ids=["light", "dark"])
def test_axe_finds_nothing(fleet: Service, visit: Visit, scheme: str, viewport: dict[str, int]) -> None:
    """With all tables open, and what is not shown at the same time otherwise."""
    page = visit(fleet, color_scheme=scheme, viewport=viewport).open(f"/?ship={STEADY}&range=24h")
    expect(page.locator("#slots .main-svg").first).to_be_visible()
    page.evaluate(
        """() => {
            for (const each of document.querySelectorAll("details")) each.open = true;
            for (const each of document.querySelectorAll("#door, #empty, .problem, .notice")) each.hidden = false;
        }"""
    )
    expect(page.locator("#readings details tbody tr").first).to_be_visible()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.locator("#delete-open").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_the_api_pages_try_out_a_request(fleet: Service, visit: Visit) -> None:
    page = visit(fleet).open()
    page.get_by_role("link", name="API documentation").click()
    top = page.locator("#operations-default-top_users")
    top.locator(".opblock-summary-control").click()
    top.get_by_role("button", name="Try it out").click()
    for name in ("start", "end"):
        top.locator(f"tr[data-param-name={name}] input").fill("")
    top.get_by_role("button", name="Execute").click()
    expect(top.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("200")
    expect(top.locator(".live-responses-table tbody .response-col_description").first).to_contain_text(
        '"consumption": 5000'
    )
