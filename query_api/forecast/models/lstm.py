"""The LSTM model: trained per ship in the background, saved to disk, and trained again after a day of new data."""

import logging
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from query_api.forecast.fit import Fit, no_paths, origins_of, stretch
from query_api.forecast.history import History
from query_api.forecast.models import lstm_net
from query_api.forecast.steps import DAY, DAY_S, STEPS, WEEK
from shared.domain.columns import F64
from shared.domain.errors import InvalidInput, PowerError, Problem
from shared.domain.slots import SLOT_S
from shared.runtime.private_files import make_private, private_folder

log = logging.getLogger(__name__)

INSTALL = ".venv/bin/python -m pip install 'torch>=2.9'"
LEAST_DAYS = 35
HELD_OUT_DAYS = 56
"""The last days are held out of training: for early stopping and for the intervals."""
FILES = 64
UNDER_WAY = 4
FORM = 1
"""The version of the file format; other files are ignored."""


class BeingTrained(PowerError):
    """The model is being trained."""


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A network's weights and normalisation, the end of its history and of its training (seconds since 1970)."""

    trained_to_s: int
    held_out_s: int
    mean: float
    scale: float
    weights: dict[str, F64]


class Lstm:
    """Forecasts with one network for each ship."""

    name: Final = "lstm"

    def __init__(
        self,
        folder: Path | None,
        *,
        good_for_s: int = DAY_S,
        wait_s: float | None = 5.0,
        files: int = FILES,
        trainer: Callable[[int, History], Trained] | None = None,
    ) -> None:
        """Start without networks; they are saved in `folder`, or for None kept in memory only.

        Data newer by `good_for_s` makes a network outdated. A query waits `wait_s` for training, or for None until it
        ends. At most `files` networks are kept, on disk and in memory.
        """
        self._folder, self._good_for_s, self._wait_s, self._files = folder, good_for_s, wait_s, files
        self._trainer = trainer or train
        self._kept: dict[tuple[int, int], Trained] = {}
        self._under_way: dict[tuple[int, int], Future[Trained]] = {}
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    def fit(self, ship: int, history: History, days: list[int]) -> Fit:
        """See `Model`.

        Raises:
            InvalidInput: PyTorch is not installed, or the history is too short.
            BeingTrained: training takes longer than `wait_s`.

        """
        if lstm_net.torch_or_none() is None:
            raise _unusable(f"lstm needs PyTorch, which is not installed: {INSTALL}, and start the service again")
        if len(history) < LEAST_DAYS * DAY:
            raise _unusable(
                f"lstm needs {LEAST_DAYS} days of history before start, and there are {len(history) / DAY:.1f}"
            )
        return _predict(self._trained(ship, history), history, days)

    def _trained(self, ship: int, history: History) -> Trained:
        """Find a network that is not outdated and was trained on nothing later than this history; or train one."""
        with self._lock:
            found = self._find(ship, history.end_s)
            if found is not None:
                return found
            key = (ship, history.end_s // self._good_for_s)
            future = self._under_way.get(key)
            if future is None:
                if len(self._under_way) >= UNDER_WAY:
                    raise BeingTrained("Networks of other ships are being trained. Try again later.")
                future = self._under_way[key] = Future()
                # A daemon thread, so that a stop does not wait for it.
                threading.Thread(target=self._train, args=(key, history, future), name="lstm", daemon=True).start()
        try:
            return future.result(self._wait_s)
        except NotYet:
            raise BeingTrained(f"The network of ship {ship} is being trained. Try again later.") from None

    def _find(self, ship: int, end_s: int) -> Trained | None:
        oldest_s = end_s - self._good_for_s
        for (whose, _), each in self._kept.items():
            if whose == ship and oldest_s < each.trained_to_s <= end_s:
                return each
        for path in self._folder.glob(f"{ship}-*.npz") if self._folder else ():
            each_s = path.stem.partition("-")[2]
            if each_s.isdigit() and oldest_s < int(each_s) <= end_s and (read := _read(path)) is not None:
                self._keep(ship, read)
                return read
        return None

    def _keep(self, ship: int, trained: Trained) -> None:
        self._kept[ship, trained.trained_to_s] = trained
        while len(self._kept) > self._files:
            del self._kept[next(iter(self._kept))]

    def _train(self, key: tuple[int, int], history: History, future: Future[Trained]) -> None:
        """Train a network, one at a time."""
        ship = key[0]
        try:
            with self._turn:
                trained = self._trainer(ship, history)
        except BaseException as error:  # queries wait for the future
            log.exception("the network of ship %d could not be trained", ship)
            with self._lock:
                del self._under_way[key]
            future.set_exception(error)
            return
        if self._folder is not None:
            _write(self._folder, ship, trained, self._files)
        with self._lock:
            self._keep(ship, trained)
            del self._under_way[key]
        future.set_result(trained)


def train(ship: int, history: History) -> Trained:
    """Train a ship's network; deterministic."""
    held_out = min(HELD_OUT_DAYS, len(history) // DAY // 4) * DAY
    seen = history.kwh[:-held_out][history.weight[:-held_out] > 0]
    mean, scale = float(seen.mean()), history.before(len(history) - held_out).scale
    hours = lstm_net.hours_of(history, mean, scale)
    weights = lstm_net.train(hours, len(hours) - held_out // lstm_net.HOUR, ship % 2**32)
    return Trained(history.end_s, history.end_s - held_out * SLOT_S, mean, scale, weights)


def _predict(trained: Trained, history: History, days: list[int]) -> Fit:
    """Predict from the end of the history, and from each held-out day."""
    hours = lstm_net.hours_of(history, trained.mean, trained.scale)
    origins = origins_of(history, 2 * WEEK)
    origins = origins[history.start_s + origins * SLOT_S >= trained.held_out_s]
    back = (len(history) - origins) // lstm_net.HOUR
    change = lstm_net.changes(trained.weights, hours, len(hours) - back) * trained.scale
    week = stretch(history.kwh, origins, -WEEK, 0) + np.repeat(change, lstm_net.HOUR, axis=1)
    paths = no_paths(len(origins))
    wanted = np.isin(np.arange(STEPS) // DAY, days)
    paths[:, wanted] = np.tile(week, STEPS // WEEK)[:, wanted]
    return Fit(paths[0], origins[1:], paths[1:])


def _unusable(why: str) -> InvalidInput:
    return InvalidInput("this model cannot be used", (Problem("model", why),))


def _read(path: Path) -> Trained | None:
    """Read a network, or return None if the file is invalid. No code in the file is executed."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            form, trained_to_s, held_out_s = file["whole"].tolist()
            mean, scale = file["numbers"].tolist()
            weights = {name[2:]: file[name] for name in file.files if name.startswith("w.")}
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s cannot be read (%s); the network will be trained again", path, error)
        return None
    return Trained(trained_to_s, held_out_s, mean, scale, weights) if form == FORM else None


def _write(folder: Path, ship: int, trained: Trained, files: int) -> None:
    """Save a network atomically, and delete the oldest files. Without a disk it stays in memory only."""
    whole = np.array([FORM, trained.trained_to_s, trained.held_out_s], np.int64)
    numbers = np.array([trained.mean, trained.scale])
    named = {f"w.{name}": value for name, value in trained.weights.items()}
    path = folder / f"{ship}-{trained.trained_to_s}.npz"
    unfinished = path.with_suffix(".part")
    try:
        private_folder(folder)
        make_private(unfinished)
        with unfinished.open("wb") as file:
            np.savez(file, whole=whole, numbers=numbers, **named)  # type: ignore[arg-type]
        unfinished.replace(path)
        by_age = sorted(folder.glob("*.npz"), key=lambda each: each.stat().st_mtime)
        for old in by_age[:-files]:
            old.unlink(missing_ok=True)
    except OSError as error:
        log.warning("the network of ship %d is not kept on disk: %s", ship, error.strerror)
