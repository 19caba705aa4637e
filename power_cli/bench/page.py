"""The page in a browser, with a year of a large fleet behind it: how soon something is to be seen, and all of it."""

import importlib.util
import shutil
from contextlib import contextmanager
from collections.abc import Iterator
from statistics import median
from typing import Any

import numpy as np

from power_cli.bench.databases import Place, open_store_in
from power_cli.bench.load import DAY_S, START_S
from power_cli.bench.queries import fill
from power_cli.bench.rounds import Options, in_turn
from power_cli.bench.service import Service
from power_cli.bench.table import Row
from power_cli.up import HOST
from shared.moments import US_PER_S
from shared.readings import Readings
from shared.slots import SLOT_S

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync")
WANTED_MS = 1000
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
