"""A small LSTM over the hours of the last week that predicts by how much each hour of the next week differs.

PyTorch is imported only when it is installed and used. Inputs and outputs are numpy arrays.
"""

import importlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from query_api.forecast.history import History
from query_api.forecast.steps import DAY_S
from shared.domain.columns import F64, I64

HOUR = 4
HOUR_S = 3600
WEEK = 7 * 24
HIDDEN = 48
CHANNELS = 11
ROWS = 4096
"""How many training windows an epoch has at most."""
BATCH = 64
EPOCHS = 25
PATIENCE = 4
SECONDS = 90.0
RATE = 3e-3


@dataclass(frozen=True, slots=True, eq=False)
class Hours:
    """A history in h hours, counted back from its end.

    Attributes:
        value: normalised energy per slot, float32[h].
        weight: the mean weight of the hour's slots, float32[h].
        channels: the network's inputs, float32[h, CHANNELS].

    """

    value: F64
    weight: F64
    channels: F64

    def __len__(self) -> int:
        """Count the hours."""
        return len(self.value)


def hours_of(history: History, mean: float, scale: float) -> Hours:
    """Convert a history to hours."""
    n = len(history) // HOUR
    value = ((history.kwh[-n * HOUR :] - mean) / scale).reshape(n, HOUR).mean(axis=1)
    weight = history.weight[-n * HOUR :].reshape(n, HOUR).mean(axis=1)
    change = np.concatenate([np.zeros(WEEK), value[WEEK:] - value[:-WEEK]])[-n:]
    at_s = history.end_s - HOUR_S * np.arange(n, 0, -1)
    turn = 2 * np.pi * (at_s % DAY_S) / DAY_S
    calendar = [np.sin(turn)[:, None], np.cos(turn)[:, None], np.eye(7)[(at_s // DAY_S + 3) % 7]]
    channels = np.concatenate([value[:, None], change[:, None], *calendar], axis=1)
    return Hours(value.astype(np.float32), weight.astype(np.float32), channels.astype(np.float32))


def torch_or_none() -> Any:
    """Import PyTorch if it is installed: some seconds the first time."""
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError:
        return None
    torch.set_num_threads(1)  # leave cores for queries
    return torch


def train(hours: Hours, known: int, seed: int) -> dict[str, F64]:
    """Train on the first `known` hours, stop when the loss on the others no longer falls; return the best weights."""
    torch = torch_or_none()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _net(torch)
    learning = torch.optim.Adam(net.parameters(), lr=RATE)
    held_out = np.arange(known, len(hours) - 24, 6)
    rng, until_s = np.random.default_rng(seed), time.monotonic() + SECONDS
    best, best_loss, worse = _weights(net), np.inf, 0
    for _ in range(EPOCHS):
        for batch in _batches(rng.permutation(np.arange(2 * WEEK, known - 24))[:ROWS]):
            learning.zero_grad()
            _loss(torch, net, hours, batch, known).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            learning.step()
        with torch.no_grad():
            loss = float(np.mean([_loss(torch, net, hours, batch, len(hours)).item() for batch in _batches(held_out)]))
        worse = 0 if loss < best_loss else worse + 1
        if loss < best_loss:
            best, best_loss = _weights(net), loss
        if worse >= PATIENCE or time.monotonic() > until_s:
            break
    return best


def changes(weights: dict[str, F64], hours: Hours, origins: I64) -> F64:
    """Return the normalised difference from the week before of the 168 hours after each origin (at least 168)."""
    torch = torch_or_none()
    net = _net(torch)
    net.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    with torch.no_grad():
        found = [_predict(torch, net, hours, batch).numpy() for batch in _batches(origins)]
    return np.concatenate([np.zeros((0, WEEK)), *found])


def _net(torch: Any) -> Any:
    net = torch.nn.ModuleDict(
        {"lstm": torch.nn.LSTM(CHANNELS, HIDDEN, batch_first=True), "head": torch.nn.Linear(HIDDEN, WEEK)}
    )
    torch.nn.init.zeros_(net["head"].weight)  # it starts as the baseline
    torch.nn.init.zeros_(net["head"].bias)
    return net


def _weights(net: Any) -> dict[str, F64]:
    return {name: value.detach().numpy().copy() for name, value in net.state_dict().items()}


def _predict(torch: Any, net: Any, hours: Hours, origins: I64) -> Any:
    seen = hours.channels[origins[:, None] + np.arange(-WEEK, 0)]
    _, (last, _) = net["lstm"](torch.from_numpy(seen))
    return net["head"](last[0])


def _loss(torch: Any, net: Any, hours: Hours, origins: I64, known: int) -> Any:
    """Return the weighted mean absolute error over the hours before `known`."""
    at = origins[:, None] + np.arange(WEEK)
    inside = at < known
    at = np.minimum(at, known - 1)
    weight = torch.from_numpy((hours.weight[at] * inside).astype(np.float32))
    change = torch.from_numpy(hours.value[at] - hours.value[at - WEEK])
    return ((_predict(torch, net, hours, origins) - change).abs() * weight).sum() / weight.sum().clamp(min=1.0)


def _batches(origins: I64) -> Iterator[I64]:
    return (origins[first : first + BATCH] for first in range(0, len(origins), BATCH))
