"""GET /forecast: how much energy a ship is expected to use."""

import json
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from flask import Response, request
from prometheus_client import Counter

from query_api.answers.columns import is_short
from query_api.answers.heavy import HeavyAnswers
from query_api.answers.rows import Row, number, numbers, text
from query_api.forecast import linear
from query_api.forecast.answers import Forecasts
from query_api.forecast.forecast import Forecast
from query_api.forecast.linear import Linear
from query_api.forecast.lstm import BeingTrained, Lstm
from query_api.forecast.seasonal_naive import SeasonalNaive
from query_api.interface.forecasts import FORECAST, ForecastParameters
from shared.domain.errors import Unavailable
from shared.http.app import Routes, problem
from shared.http.parameters import parse
from shared.runtime.process import freeze_startup_objects
from shared.store.port import EnergyReader

TRAINING_RETRY_S = 15
FOLDER = "forecasts"
"""Below the data folder: what was trained. It may be deleted at any time."""


def routes(store: EnergyReader, errors: Counter, folder: Path | None, heavy: HeavyAnswers | None = None) -> Routes:
    """Build the routes over a store; `errors` counts where it is `Unavailable`, what is trained is kept in a folder."""
    heavy = heavy or HeavyAnswers()
    routes = Routes("forecast", __name__, needs="read")
    counted = errors.count_exceptions(Unavailable)
    models = (Linear(), SeasonalNaive(), Lstm(folder))
    forecasts = Forecasts(store, {each.name: each for each in models})

    @routes.serves(FORECAST)
    @counted
    def of_ship() -> Response:
        asked = parse(ForecastParameters, request.args)
        start_s, end_s = asked.window.start_s or 0, asked.window.end_s or 0
        try:
            found = forecasts.ask(asked.model, asked.spaceship_id, start_s, end_s)
        except BeingTrained as error:
            return problem(503, str(error), headers={"Retry-After": str(TRAINING_RETRY_S)})
        answer = _answer(found, asked.model)
        if asked.detail:
            with nullcontext() if is_short(asked.window) else heavy.turn(request):
                answer["data"] = _rows(found)
        return Response(json.dumps(answer, separators=(",", ":")), mimetype="application/json")

    return routes


def warm_up() -> None:
    """Load the default model's library aside, so that the first question need not wait for it."""

    def load() -> None:
        linear.warm_up()
        freeze_startup_objects()

    threading.Thread(target=load, name="warm-up", daemon=True).start()


def _answer(found: Forecast, model: str) -> dict[str, Any]:
    return {
        "datetime": text(found.start_s),
        "expected_consumption": number(found.kwh),
        "lower": number(found.lower),
        "upper": number(found.upper),
        "model": model,
        "trained_on": {
            "start": text(found.trained_from_s),
            "end": text(found.trained_to_s),
            "slots": found.slots,
        },
    }


def _rows(found: Forecast) -> list[Row]:
    path = found.path
    columns = (path.start_s.tolist(), *map(numbers, (path.kwh, path.lower, path.upper)))
    return [
        {"datetime": text(start_s), "value": kwh, "lower": lower, "upper": upper}
        for start_s, kwh, lower, upper in zip(*columns, strict=True)
    ]
