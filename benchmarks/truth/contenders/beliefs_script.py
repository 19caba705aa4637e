"""Resamples readings with timely-beliefs; runs by itself, in an environment without this project.

Reads `{"rows": [{"moment_s", "value", "kind", "sent_s"}, …]}` from standard input, and writes the slots as pairs of
start and energy, or `null` if there is no way to take such readings.

A sensor has an event resolution, the time that one value is about; `resample_events` changes it, by mean or by sum
(https://github.com/SeitaBV/timely-beliefs/blob/main/timely_beliefs/docs/resampling.md). A value that was sent later is
a later belief about the same event, and the most recent one counts (timing.md beside it). Readings without a regular
distance are instantaneous events. Of these `resample_events` keeps only what is at a slot's start; so they are filled
forward to minutes first, which the library does, too.
"""

import json
import sys
from collections import Counter
from datetime import timedelta
from itertools import pairwise

import pandas as pd
import timely_beliefs as tb
from timely_beliefs.beliefs.utils import resample_instantaneous_events

SLOT = timedelta(minutes=15)
AT_END = "energy_end"


def main() -> None:
    """Resample the readings of each kind, and add them up."""
    rows = pd.DataFrame(json.load(sys.stdin)["rows"])
    parts = [_slots(str(kind), own) for kind, own in rows.groupby("kind")]
    found = None
    if all(each is not None for each in parts):
        total = pd.concat(parts).groupby(level=0).sum()
        starts_s = pd.DatetimeIndex(total.index).as_unit("s").astype("int64")
        found = list(zip(starts_s.tolist(), total.tolist(), strict=True))
    json.dump(found, sys.stdout)


def _slots(kind: str, own: pd.DataFrame) -> "pd.Series[float] | None":
    if kind == "counter":
        return None
    moments_s = sorted(set(own["moment_s"]))
    resolution = _resolution(moments_s)
    is_power = kind in ("held", "line")
    if not resolution and not is_power:
        return None
    starts_s = own["moment_s"] - (resolution.total_seconds() if kind == AT_END else 0)
    frame = pd.DataFrame(
        {
            "event_start": pd.to_datetime(starts_s, unit="s", utc=True),
            "belief_time": pd.to_datetime(own["sent_s"], unit="s", utc=True),
            "source": "ship",
            "event_value": own["value"],
        }
    ).drop_duplicates(["event_start", "belief_time"], keep="last")
    sensor = tb.Sensor("ship", "kW" if is_power else "kWh", timezone="UTC", event_resolution=resolution)
    beliefs = tb.BeliefsDataFrame(frame, sensor=sensor)
    beliefs = tb.beliefs.utils.select_most_recent_belief(beliefs)
    if resolution:
        method = "mean" if is_power else "sum"
        beliefs = beliefs.resample_events(SLOT, keep_only_most_recent_belief=True, method=method)
        values = beliefs["event_value"].groupby(level="event_start").last()
    else:
        minutes = resample_instantaneous_events(beliefs, timedelta(minutes=1), "ffill")
        values = minutes["event_value"].groupby(level="event_start").last().resample(SLOT).mean()
    kwh: pd.Series[float] = values * (SLOT.total_seconds() / 3600 if is_power else 1)
    return kwh


def _resolution(moments_s: list[int]) -> timedelta:
    """Return the usual distance if all distances are multiples of it and it can be resampled to slots, otherwise 0."""
    steps_s = [later - earlier for earlier, later in pairwise(moments_s)]
    usual_s = Counter(steps_s).most_common(1)[0][0]
    fits = SLOT.total_seconds() % usual_s == 0 or usual_s % SLOT.total_seconds() == 0
    return timedelta(seconds=usual_s if fits and not any(step_s % usual_s for step_s in steps_s) else 0)


if __name__ == "__main__":
    main()
