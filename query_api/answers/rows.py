"""Writes numbers, timestamps and JSON responses."""

import json
from typing import Any

import numpy as np
from flask import Response

from shared.domain.columns import F64

Row = dict[str, Any]
DECIMALS = 6


def json_response(answer: object) -> Response:
    """Return an answer as compact JSON."""
    return Response(json.dumps(answer, separators=(",", ":")), mimetype="application/json")


def timestamp(start_s: int) -> str:
    """Write the start of a slot, given in seconds since 1970."""
    return f"{np.datetime64(start_s, 's')}Z"


def number(value: float) -> int | float:
    """Round to six decimals; whole numbers become int, so that they are written without a fraction."""
    rounded = round(value, DECIMALS)
    return int(rounded) if rounded == int(rounded) else rounded


def numbers(values: F64) -> list[int | float]:
    """Apply `number` to a column."""
    rounded = np.round(values, DECIMALS)
    whole = rounded == np.trunc(rounded)
    if whole.all() and np.abs(rounded).max(initial=0) < 2**53:
        return rounded.astype(np.int64).tolist()  # type: ignore[no-any-return]
    return [int(value) if is_whole else value for value, is_whole in zip(rounded.tolist(), whole.tolist(), strict=True)]
