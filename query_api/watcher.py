"""The short-lived process in which `daily.py` has past days forecast: its memory and its lock are not the service's.

Each line of standard input names a ship, the end of its days and those that were forecast before; the answer is a line
with all of its days. It ends with its input, so also with the service.
"""

import json
import os
import signal
import sys
from contextlib import closing

from query_api.forecast.accuracy import days_from
from query_api.forecast.models.auto import Auto
from query_api.forecast.watch import Watch
from shared.runtime.process import run
from shared.runtime.settings import QuerySettings
from shared.store.choice import open_store

CACHE_KIB = 1024
NICENESS = 19
LONGEST_S = 300
"""A ship that takes longer ends the process."""


def main() -> None:
    """Answer until the input ends."""
    os.nice(NICENESS)
    with closing(open_store(QuerySettings.load(os.environ), cache_kib=CACHE_KIB)) as store:
        watch = Watch(store, Auto())
        for line in sys.stdin:
            signal.alarm(LONGEST_S)
            ship, end_s, known = json.loads(line)
            watch.learn(ship, days_from(known))
            *_, days = watch.days(ship, end_s)
            sys.stdout.write(f"{json.dumps(days)}\n")
            sys.stdout.flush()
            signal.alarm(0)


if __name__ == "__main__":
    run(main)
