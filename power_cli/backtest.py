"""`./power backtest`: scores each model's forecasts of past windows against the stored energy."""

import sys
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import urllib3
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from power_cli import sending
from power_cli.argument_types import add_url, positive, ship_number, timestamp_us
from power_cli.markdown import table
from power_cli.reference_models import NAMES, reference_models
from query_api.forecast.conformal import TAIL
from query_api.forecast.fit import Model
from query_api.forecast.forecast import forecast
from query_api.forecast.intervals import COVERAGE
from query_api.forecast.models import ModelName
from query_api.forecast.models.choice import standard_models
from query_api.forecast.models.lstm import Lstm
from query_api.forecast.models.lstm_net import torch_or_none
from query_api.forecast.steps import DAY, DAY_S
from shared.contract.acceptance import Rules
from shared.contract.covariates import receive
from shared.domain.clock import now_us
from shared.domain.columns import F64, I64
from shared.domain.covariates import NO_ROWS, Covariates, Table
from shared.domain.errors import InvalidInput
from shared.domain.slots import SLOT_S, Slots
from shared.domain.timestamps import LAST_US, US_PER_S, iso

HORIZONS = {"1 hour": 4, "1 day": DAY, "7 days": 7 * DAY}
STEP = DAY + 4
"""Slots from one window to the next: a day and an hour, so that windows begin at every hour of the day."""
ANY = Rules(max_ahead_us=LAST_US, oldest_us=0)
LSTM_GOOD_FOR_S = 91 * DAY_S
MODELS = get_args(ModelName)
HEADER = (
    "window", "model", "windows", "WAPE", "slots' WAPE", "pinball loss", "coverage", "slots' coverage", "width",
    "against naive",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Score:
    """The accuracy of a model's forecasts over windows of one length.

    Attributes:
        windows: the number of windows.
        wape: weighted absolute percentage error of the windows' totals, as a fraction.
        slots_wape: the same for single slots.
        pinball_kwh: mean pinball loss per window, over lower bound, total and upper bound.
        coverage: the fraction of windows whose total lay in the interval.
        slots_coverage: the fraction of slots that lay in theirs.
        width: the mean width of the intervals of totals, over the mean total.

    """

    windows: int
    wape: float
    slots_wape: float
    pinball_kwh: float
    coverage: float
    slots_coverage: float
    width: float


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--ship", action="append", type=ship_number, required=True, metavar="N", help="its number; may be repeated"
    )
    parser.add_argument(
        "--start", type=_slot_start_s, metavar="TIME", help="where windows begin (default: the middle of the history)"
    )
    parser.add_argument("--end", type=_slot_start_s, metavar="TIME", help="where windows end (default: the last slot)")
    parser.add_argument("--model", action="append", choices=MODELS, help="score only this model; may be repeated")
    parser.add_argument(
        "--windows",
        type=positive,
        default=365,
        metavar="N",
        help="maximum number of windows of each length (default 365)",
    )
    parser.add_argument("--every", type=positive, default=1, metavar="N", help="only every N-th window (default 1)")
    parser.add_argument("--reference", action="store_true", help="score the models of statsforecast, too")
    add_url(parser)


def run(arguments: Namespace) -> int:
    """Fetch all slots of the ships, forecast past windows from the slots before them, and print the scores."""
    models = _models(arguments)
    ships = {ship: _slots(arguments.url, ship) for ship in arguments.ship}
    covariates = {ship: _covariates(arguments.url, ship) for ship in ships}
    periods = {ship: _period(ship, slots, arguments.start, arguments.end) for ship, slots in ships.items()}
    starts = {
        (ship, name): _starts(*periods[ship], steps, arguments.windows)[:: arguments.every]
        for ship in ships
        for name, steps in HORIZONS.items()
    }
    found: dict[int, dict[tuple[str, str], Score]] = {ship: {} for ship in ships}
    with tqdm(total=len(models) * sum(map(len, starts.values())), unit=" forecasts") as bar:
        for (ship, name), starts_s in starts.items():
            for model in models:
                bar.set_description(f"ship {ship}, {name}, {model.name}")
                scores = score(model, ships[ship], starts_s, HORIZONS[name], bar, covariates[ship])
                if scores is not None:
                    found[ship][name, model.name] = scores
    if not all(found.values()):
        raise InvalidInput("no window is complete and has a day of complete history before it")
    for ship, scores_of in found.items():
        start, end = (iso(at_s * US_PER_S) for at_s in periods[ship])
        sys.stdout.write(f"Ship {ship}, windows from {start} to {end}\n\n{as_text(scores_of)}\n\n")
    if len(found) > 1:
        sys.stdout.write(f"Mean of the ships' WAPE\n\n{means(list(found.values()))}\n")
    return 0


def _period(ship: int, slots: Slots, start_s: int | None, end_s: int | None) -> tuple[int, int]:
    """Return where windows begin and end, in seconds since 1970."""
    if not len(slots):
        raise InvalidInput(f"the service has no slots of ship {ship}")
    first_s, last_s = int(slots.start_s[0]), int(slots.start_s[-1]) + SLOT_S
    middle_s = first_s + (last_s - first_s) // (2 * SLOT_S) * SLOT_S
    return middle_s if start_s is None else start_s, last_s if end_s is None else min(end_s, last_s)


def _models(arguments: Namespace) -> list[Model]:
    models = standard_models()
    if torch_or_none() is not None:
        models.append(Lstm(None, good_for_s=LSTM_GOOD_FOR_S, wait_s=None))
    models = [each for each in models if not arguments.model or each.name in arguments.model]
    if not models:
        raise InvalidInput("lstm needs PyTorch, which is not installed; see docs/forecast.md")
    return [*models, *(reference_models() if arguments.reference else ())]


def _starts(start_s: int, end_s: int, steps: int, most: int) -> I64:
    """Return the starts of at most `most` windows, evenly spread."""
    starts_s = np.arange(start_s, end_s - steps * SLOT_S + 1, STEP * SLOT_S, dtype=np.int64)
    return starts_s[np.unique(np.linspace(0, len(starts_s) - 1, min(most, len(starts_s))).round().astype(np.int64))]


def score(  # noqa: PLR0913, PLR0917  # the last two are optional
    model: Model, slots: Slots, starts_s: I64, steps: int, bar: Any = None, covariates: Table | None = None
) -> Score | None:
    """Score forecasts of windows of `steps` slots, each made from the slots before it; None if there are none.

    Incomplete windows, and windows with too little history, are left out.
    """
    rows: list[tuple[float, ...]] = []
    for start_s in starts_s.tolist():
        if bar is not None:
            bar.update()
        first, last = np.searchsorted(slots.start_s, [start_s, start_s + steps * SLOT_S])
        actual = slots[first:last]
        if len(actual) < steps or actual.provisional.any() or (actual.covered_s < SLOT_S).any():
            continue
        try:
            found = forecast(model, slots[:first], start_s, start_s + steps * SLOT_S, (), covariates)
        except InvalidInput:
            continue
        path = found.path
        slot_errors = float(np.abs(path.kwh - actual.kwh).sum())
        inside = float(((path.lower <= actual.kwh) & (actual.kwh <= path.upper)).mean())
        rows.append((float(actual.kwh.sum()), found.kwh, found.lower, found.upper, slot_errors, inside))
    return scored(np.array(rows).T) if rows else None


def scored(columns: F64) -> Score:
    """Score windows, float64[6, n].

    Actual kWh, forecast, its lower and upper bound; the slots' absolute errors, and the share inside their intervals.
    """
    actual, expected, lower, upper, slot_errors, inside = columns
    pinball = [_pinball(actual - at, share) for at, share in ((lower, TAIL), (expected, 0.5), (upper, 1 - TAIL))]
    size = float(np.abs(actual).sum()) or 1.0
    return Score(
        len(actual),
        float(np.abs(actual - expected).sum()) / size,
        float(slot_errors.sum()) / size,
        float(np.mean(pinball)),
        float(((lower <= actual) & (actual <= upper)).mean()),
        float(inside.mean()),
        float((upper - lower).sum()) / size,
    )


def _pinball(over: F64, share: float) -> float:
    return float(np.maximum(share * over, (share - 1) * over).mean())


def as_text(scores: dict[tuple[str, str], Score]) -> str:
    """Return the scores as a Markdown table."""
    rows: list[tuple[str, ...]] = [HEADER]
    for (window, name), each in scores.items():
        naive = scores.get((window, "seasonal_naive"))
        better = f"{1 - each.wape / naive.wape:+.0%}" if naive and naive is not each and naive.wape else ""
        accuracy = name, str(each.windows), f"{each.wape:.2%}", f"{each.slots_wape:.2%}"
        shares = (f"{share:.1%}" for share in (each.coverage, each.slots_coverage, each.width))
        interval = ("",) * 4 if name in NAMES else (f"{each.pinball_kwh:.4g} kWh", *shares)
        rows.append((window, *accuracy, *interval, better))
    return f"{table(rows)}\n\nCoverage should be {COVERAGE:.0%}; smaller WAPE and pinball loss are better."


def means(found: list[dict[tuple[str, str], Score]]) -> str:
    """Return the mean WAPE of each model over the ships, as a Markdown table."""
    rows: list[tuple[str, ...]] = [("model", *HORIZONS, *(f"{name}, slots" for name in HORIZONS))]
    for model in dict.fromkeys(name for each in found for _, name in each):
        of = [[each[window, model] for each in found if (window, model) in each] for window in HORIZONS]
        totals = [f"{np.mean([each.wape for each in scores]):.2%}" if scores else "" for scores in of]
        slots = [f"{np.mean([each.slots_wape for each in scores]):.2%}" if scores else "" for scores in of]
        rows.append((model, *totals, *slots))
    return table(rows)


def _get(url: str, path: str) -> urllib3.BaseHTTPResponse:
    headers = sending.authorization()
    try:
        response = urllib3.request(
            "GET", f"{url}{path}", headers=headers, timeout=sending.TIMEOUT, retries=False, redirect=False
        )
    except HTTPError:
        raise sending.no_service(url) from None
    if response.status == sending.UNAUTHORIZED:
        raise sending.no_token(url)
    return response


def _covariates(url: str, ship: int) -> Table:
    """Fetch the covariates of a ship."""
    response = _get(url, path := f"/ships/{ship}/covariates")
    try:
        content = receive(response.data, ANY, now_us(), ship).covariates  # it is shown as it is sent
    except InvalidInput:
        raise sending.no_power_service(url, response.status, f"GET {path}") from None
    return Covariates(ship, 0, content or NO_ROWS).table()


def _slots(url: str, ship: int) -> Slots:
    """Fetch all slots of a ship."""
    response = _get(url, f"/data?spaceship_id={ship}&detail=true")
    try:
        rows = response.json()["data"]  # an error has no "data"
        starts = np.array([row["datetime"][:-1] for row in rows], "datetime64[s]").astype(np.int64)
        kwh, covered_s = (np.array([row[name] for row in rows], np.float64) for name in ("value", "covered_seconds"))
        provisional = np.array([row["provisional"] for row in rows], np.bool_)
        estimated_s = np.array([row["estimated_seconds"] for row in rows], np.float64)
    except (ValueError, LookupError, TypeError):
        raise sending.no_power_service(url, response.status, "GET /data") from None
    return Slots(np.full(len(rows), ship, np.int64), starts, kwh, covered_s, provisional, estimated_s)


def _slot_start_s(text: str) -> int:
    """Convert a timestamp to the start of its slot."""
    return timestamp_us(text) // US_PER_S // SLOT_S * SLOT_S
