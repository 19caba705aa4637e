"""The LSTM: its networks are kept, renewed after a day, and never know what came later. Its own skill needs PyTorch."""

import importlib.util
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from query_api.forecast.forecast import forecast
from query_api.forecast.history import History, history_of
from query_api.forecast.models import lstm_net
from query_api.forecast.models.lstm import UNDER_WAY, BeingTrained, Lstm, Trained, train
from query_api.forecast.models.seasonal_naive import SeasonalNaive
from shared.domain.errors import InvalidInput
from shared.domain.slots import SLOT_S
from tests.support.slots import DAY, MONDAY_S, slots_from, weekly
from tests.support.waiting import until

SLOTS = slots_from(weekly(60))
DAY_S = DAY * SLOT_S
HAS_TORCH = importlib.util.find_spec("torch") is not None
with_torch = pytest.mark.skipif(not HAS_TORCH, reason="PyTorch, an extra, is not installed")


def known(days: float) -> History:
    return history_of(SLOTS, MONDAY_S + int(days * DAY) * SLOT_S)


class Trainer:
    """Makes networks that know nothing, when it is let."""

    def __init__(self) -> None:
        self.made: list[tuple[int, int]] = []
        self.free = threading.Event()
        self.free.set()

    def __call__(self, ship: int, history: History) -> Trained:
        assert self.free.wait(30)
        self.made.append((ship, history.end_s))
        return Trained(history.end_s, history.end_s - DAY_S, 0.5, 2.0, {"head.bias": np.ones(3)})


def held(folder: Path) -> Trainer:
    """Train a ship's network 50 days in, and keep it."""
    trainer = Trainer()
    asked(Lstm(folder, trainer=trainer), 50)
    return trainer


def asked(lstm: Lstm, days: float, ship: int = 7) -> int:
    """Give up to when the network knew that is used so many days in, in seconds."""
    return lstm._trained(ship, known(days)).trained_to_s


def test_a_network_is_used_until_a_day_of_new_data_has_come_and_never_for_what_was_before_it() -> None:
    trainer = Trainer()
    lstm = Lstm(None, trainer=trainer)
    ends = [asked(lstm, days) for days in (50, 50, 50.9, 51, 49.9, 50.5)]
    assert ends == [MONDAY_S + int(days * DAY) * SLOT_S for days in (50, 50, 50, 51, 49.9, 50)]
    assert len(trainer.made) == 3
    assert asked(lstm, 50, ship=70) == asked(lstm, 50)
    assert len(trainer.made) == 4


def test_networks_are_found_again_on_disk(tmp_path: Path) -> None:
    trainer = Trainer()
    first = Lstm(tmp_path / "new", trainer=trainer)._trained(7, known(50))
    again = Lstm(tmp_path / "new", trainer=trainer)._trained(7, known(50.5))
    assert trainer.made == [(7, known(50).end_s)]
    assert (again.trained_to_s, again.held_out_s, again.mean, again.scale) == (
        first.trained_to_s,
        first.held_out_s,
        0.5,
        2.0,
    )
    assert again.weights["head.bias"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(("days", "trained"), [(49, 1), (49.9, 1), (50.9, 0), (51, 1)])
def test_on_disk_too_only_one_is_used_that_is_neither_later_nor_a_day_old(
    tmp_path: Path, days: float, trained: int
) -> None:
    held(tmp_path)
    trainer = Trainer()
    asked(Lstm(tmp_path, trainer=trainer), days)
    assert len(trainer.made) == trained


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not really", b"\x80\x04\x95 a pickle"])
def test_a_damaged_file_is_trained_anew(tmp_path: Path, damage: bytes) -> None:
    trainer = Trainer()
    asked(Lstm(tmp_path, trainer=trainer), 50)
    (path,) = tmp_path.glob("*.npz")
    path.write_bytes(damage)
    assert asked(Lstm(tmp_path, trainer=trainer), 50) == known(50).end_s
    assert len(trainer.made) == 2
    asked(Lstm(tmp_path, trainer=trainer), 50)
    assert len(trainer.made) == 2


def test_a_file_that_would_run_code_is_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> Any:
            return ran.touch, ()

    end_s = known(50).end_s
    np.savez(tmp_path / f"7-{end_s}.npz", whole=np.array([Evil()], object), numbers=np.zeros(2))
    trainer = Trainer()
    asked(Lstm(tmp_path, trainer=trainer), 50)
    assert len(trainer.made) == 1
    assert not ran.exists()


def test_only_so_many_are_kept(tmp_path: Path) -> None:
    lstm = Lstm(tmp_path, files=3, trainer=Trainer())
    for ship in range(6):
        asked(lstm, 50, ship)
    assert len(list(tmp_path.iterdir())) == len(lstm._kept) == 3


def test_without_a_folder_that_can_be_written_they_are_kept_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", "utf-8")
    trainer = Trainer()
    lstm = Lstm(tmp_path / "file" / "below", trainer=trainer)
    assert asked(lstm, 50) == asked(lstm, 50)
    assert len(trainer.made) == 1


def test_who_does_not_want_to_wait_is_told_so_and_others_are_not_queued_for_ever() -> None:
    trainer = Trainer()
    trainer.free.clear()
    lstm = Lstm(None, wait_s=0, trainer=trainer)
    for ship in range(UNDER_WAY + 3):
        for _ in range(2):
            with pytest.raises(BeingTrained):
                asked(lstm, 50, ship)
    trainer.free.set()
    until(lambda: len(trainer.made) == UNDER_WAY and not lstm._under_way, "those that were begun")
    assert asked(lstm, 50, 0) == known(50).end_s
    assert len(trainer.made) == UNDER_WAY


def test_a_training_that_fails_is_tried_again() -> None:
    class Broken(Exception):
        pass

    tries: list[int] = []

    def fails(ship: int, history: History) -> Trained:
        tries.append(history.end_s + ship)
        raise Broken

    lstm = Lstm(None, trainer=fails)
    for _ in range(2):
        with pytest.raises(Broken):
            asked(lstm, 50)
    assert len(tries) == 2


@with_torch
def test_too_short_a_history_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        Lstm(None).fit(7, known(34.9), [0])
    assert "35 days of history before start, and there are 34.9" in caught.value.problems[0].problem


@pytest.fixture
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train for less long."""
    monkeypatch.setattr(lstm_net, "ROWS", 512)
    monkeypatch.setattr(lstm_net, "EPOCHS", 6)


@with_torch
@pytest.mark.usefixtures("briefly")
def test_it_learns_and_gives_the_same_from_disk(tmp_path: Path) -> None:
    """On days that it did not see it is better than the yardstick; its interval holds most of them."""
    slots = slots_from(weekly(120))
    lstm = Lstm(tmp_path, good_for_s=30 * DAY_S, wait_s=None)
    off, naive_off, inside = [], [], 0
    for day in range(100, 119):
        start_s = MONDAY_S + day * DAY_S
        came = slots.kwh[day * DAY : (day + 1) * DAY].sum()
        found, naive = (forecast(each, slots, start_s, start_s + DAY_S) for each in (lstm, SeasonalNaive()))
        off.append(abs(found.kwh - came))
        naive_off.append(abs(naive.kwh - came))
        inside += found.lower <= came <= found.upper
    assert sum(off) < 0.85 * sum(naive_off)
    assert inside >= 13
    assert len(list(tmp_path.iterdir())) == 1
    start_s = MONDAY_S + 110 * DAY_S
    again = Lstm(tmp_path, good_for_s=30 * DAY_S, trainer=Trainer())
    both = [forecast(each, slots, start_s, start_s + 20 * DAY_S) for each in (lstm, again)]
    assert both[0].kwh == both[1].kwh
    assert both[0].lower <= both[0].kwh <= both[0].upper


@with_torch
@pytest.mark.usefixtures("briefly")
def test_what_it_learns_is_the_same_each_time() -> None:
    some, others = (train(7, known(40)) for _ in range(2))
    assert {name: value.tolist() for name, value in some.weights.items()} == {
        name: value.tolist() for name, value in others.weights.items()
    }
    assert some.weights.keys() == train(8, known(40)).weights.keys()
