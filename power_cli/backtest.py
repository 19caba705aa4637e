"""`./power backtest`: how good each model's forecasts of a ship would have been, as a table."""

import json
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import urllib3
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from power_cli import sending
from query_api.forecast.fit import Model
from query_api.forecast.forecast import forecast
from query_api.forecast.intervals import COVERAGE, TAIL
from query_api.forecast.models.linear import Linear
from query_api.forecast.models.lstm import Lstm
from query_api.forecast.models.lstm_net import torch_or_none
from query_api.forecast.models.seasonal_naive import SeasonalNaive
from query_api.forecast.steps import DAY, DAY_S
from shared.domain.errors import InvalidInput, Unavailable
from shared.domain.readings import F64, I64
from shared.domain.slots import SLOT_S, Slots
from shared.domain.timestamps import US_PER_S, iso, moment_us
from shared.runtime.settings import SenderSettings

HORIZONS = {"1 hour": 4, "1 day": DAY, "7 days": 7 * DAY}
STEP = DAY + 4
"""From one window to the next: a day and an hour, so that every hour of the day has its turn."""
LSTM_GOOD_FOR_S = 91 * DAY_S
MODELS = ("seasonal_naive", "linear", "lstm")
HEADER = ("window", "model", "windows", "WAPE", "slots' WAPE", "pinball loss", "coverage", "against naive")


@dataclass(frozen=True, slots=True)
class Score:
    """What came of a model's forecasts of windows of one length.

    Attributes:
        windows: how many there were.
        wape: the absolute errors of the totals over the totals.
        slots_wape: the same slot by slot.
        pinball_kwh: of lower end, total and upper end, as quantiles, the mean per window.
        coverage: the share of windows whose total lay in the interval.

    """

    windows: int
    wape: float
    slots_wape: float
    pinball_kwh: float
    coverage: float


def add_arguments(parser: ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("--ship", type=sending.ship_number, required=True, metavar="N", help="whose slots")
    parser.add_argument("--start", type=_moment, metavar="MOMENT", help="of the first window (half of the history)")
    parser.add_argument("--end", type=_moment, metavar="MOMENT", help="no window goes beyond it (the last slot)")
    parser.add_argument("--model", action="append", choices=MODELS, help="only this one; may be repeated")
    parser.add_argument("--windows", type=_positive, default=365, metavar="N", help="of each length (at most 365)")
    sending.add_url_argument(parser)


def run(arguments: Namespace) -> int:
    """Ask a running service for all slots of a ship, and forecast what is known by now from what was known then."""
    slots = _slots(arguments.url, arguments.ship)
    if not len(slots):
        raise InvalidInput(f"the service has no slots of ship {arguments.ship}")
    first_s, last_s = int(slots.start_s[0]), int(slots.start_s[-1]) + SLOT_S
    start_s = first_s + (last_s - first_s) // (2 * SLOT_S) * SLOT_S if arguments.start is None else arguments.start
    end_s = last_s if arguments.end is None else min(arguments.end, last_s)
    models = [each for each in _models() if not arguments.model or each.name in arguments.model]
    if not models:
        raise InvalidInput("lstm needs PyTorch, which is not installed; see docs/forecast.md")
    starts = {name: _starts(start_s, end_s, steps, arguments.windows) for name, steps in HORIZONS.items()}
    scores: dict[tuple[str, str], Score] = {}
    with tqdm(total=len(models) * sum(map(len, starts.values())), unit=" forecasts") as bar:
        for name, steps in HORIZONS.items():
            for model in models:
                bar.set_description(f"{name}, {model.name}")
                found = score(model, slots, starts[name], steps, bar)
                if found is not None:
                    scores[name, model.name] = found
    if not scores:
        raise InvalidInput("there is no window with a day of history before it, all of which is known")
    sys.stdout.write(f"Ship {arguments.ship}, windows from {_text(start_s)} to {_text(end_s)}\n\n{as_text(scores)}\n")
    return 0


def _models() -> list[Model]:
    models: list[Model] = [SeasonalNaive(), Linear()]
    if torch_or_none() is not None:
        models.append(Lstm(None, good_for_s=LSTM_GOOD_FOR_S, wait_s=None))
    return models


def _starts(start_s: int, end_s: int, steps: int, most: int) -> I64:
    """Give the starts of at most so many windows, evenly."""
    starts_s = np.arange(start_s, end_s - steps * SLOT_S + 1, STEP * SLOT_S, dtype=np.int64)
    return starts_s[np.unique(np.linspace(0, len(starts_s) - 1, min(most, len(starts_s))).round().astype(np.int64))]


def score(model: Model, slots: Slots, starts_s: I64, steps: int, bar: Any = None) -> Score | None:
    """Forecast windows of so many slots, each from what lies before it; None where that can be done for none.

    Windows that are not known from end to end, and those with too little before them, are left out.
    """
    rows: list[tuple[float, ...]] = []
    for start_s in starts_s.tolist():
        if bar is not None:
            bar.update()
        first, last = np.searchsorted(slots.start_s, [start_s, start_s + steps * SLOT_S])
        came = slots[first:last]
        if len(came) < steps or came.provisional.any() or (came.covered_s < SLOT_S).any():
            continue
        try:
            found = forecast(model, slots[:first], start_s, start_s + steps * SLOT_S)
        except InvalidInput:
            continue
        off = float(np.abs(found.path.kwh - came.kwh).sum())
        rows.append((float(came.kwh.sum()), found.kwh, found.lower, found.upper, off))
    return scored(np.array(rows).T) if rows else None


def scored(columns: F64) -> Score:
    """Score windows, float64[5, n]: what came, what was expected, its ends, the slots' absolute errors."""
    came, expected, lower, upper, off = columns
    pinball = [_pinball(came - at, share) for at, share in ((lower, TAIL), (expected, 0.5), (upper, 1 - TAIL))]
    size = float(np.abs(came).sum()) or 1.0
    return Score(
        len(came),
        float(np.abs(came - expected).sum()) / size,
        float(off.sum()) / size,
        float(np.mean(pinball)),
        float(((lower <= came) & (came <= upper)).mean()),
    )


def _pinball(over: F64, share: float) -> float:
    return float(np.maximum(share * over, (share - 1) * over).mean())


def as_text(scores: dict[tuple[str, str], Score]) -> str:
    """Lay scores out as a Markdown table whose columns are aligned."""
    cells: list[Sequence[str]] = [HEADER]
    for (window, name), each in scores.items():
        naive = scores.get((window, "seasonal_naive"))
        better = f"{1 - each.wape / naive.wape:+.0%}" if naive and naive is not each and naive.wape else ""
        shares = f"{each.wape:.2%}", f"{each.slots_wape:.2%}", f"{each.pinball_kwh:.4g} kWh", f"{each.coverage:.1%}"
        cells.append((window, name, str(each.windows), *shares, better))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, tuple("-" * width for width in widths))
    lines = ((text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in cells)
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\nCoverage is to be {COVERAGE:.0%}; WAPE and pinball loss are better the smaller they are."


def _slots(url: str, ship: int) -> Slots:
    """Get all slots of a ship."""
    token = SenderSettings.load(os.environ).api_token
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    path = f"/data?spaceship_id={ship}&detail=true"
    try:
        with urllib3.PoolManager(retries=False) as http:
            response = http.request("GET", url + path, headers=headers, timeout=sending.TIMEOUT, redirect=False)
    except HTTPError as error:
        raise Unavailable(f"no service answers at {url} ({type(error).__name__}); start it with ./power up") from None
    if response.status == sending.UNAUTHORIZED:
        raise InvalidInput(f"{url} asks for an access token that it knows; give it one in POWER_API_TOKEN")
    try:
        rows = json.loads(response.data)["data"]  # a refusal has none
        starts = np.array([row["datetime"][:-1] for row in rows], "datetime64[s]").astype(np.int64)
        kwh, covered_s = (np.array([row[name] for row in rows], np.float64) for name in ("value", "covered_seconds"))
        provisional = np.array([row["provisional"] for row in rows], np.bool_)
    except (ValueError, LookupError, TypeError):
        raise InvalidInput(f"{url} answers {response.status} to GET /data; is it the power service?") from None
    return Slots(np.full(len(rows), ship, np.int64), starts, kwh, covered_s, provisional)


def _text(at_s: int) -> str:
    return iso(at_s * US_PER_S)


def _moment(text: str) -> int:
    try:
        return moment_us(text) // US_PER_S // SLOT_S * SLOT_S
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} {error}") from None


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ArgumentTypeError(f"a whole number from 1 on, not {text!r}")
    return int(text)
