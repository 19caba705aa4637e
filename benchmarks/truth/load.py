"""A ship's true load over time, and its energy in exact fractions. Knows nothing of readings and of the rule."""

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from random import Random
from typing import NamedTuple

S_PER_HOUR = 3600
CONSUMERS_KW = (40, 90, 160, 350, 700)
"""What the steps of a load switch on and off."""
BASE_KW = 120


class Piece(NamedTuple):
    """Power at the start and at the end of ``[start_s, end_s)``, and on a straight line between."""

    start_s: int
    end_s: int
    start_kw: Fraction
    end_kw: Fraction

    def kw(self, at_s: int) -> Fraction:
        """Return the power at one moment of the piece."""
        return self.start_kw + (self.end_kw - self.start_kw) * Fraction(at_s - self.start_s, self.end_s - self.start_s)

    def kwh_until(self, at_s: int) -> Fraction:
        """Return the energy from the piece's start on."""
        return (self.start_kw + self.kw(at_s)) / 2 * (at_s - self.start_s) / S_PER_HOUR


class Load:
    """Power as a function of time, without gaps."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        """Take pieces that follow each other."""
        self.start_s, self.end_s = pieces[0].start_s, pieces[-1].end_s
        self._pieces, self._starts_s = pieces, [each.start_s for each in pieces]
        self._kwh_before = list(accumulate((each.kwh_until(each.end_s) for each in pieces), initial=Fraction(0)))

    def kw(self, at_s: int) -> Fraction:
        """Return the power at a moment; at a step the one after it."""
        return self._pieces[self._at(at_s)].kw(at_s)

    def kwh(self, start_s: int, end_s: int) -> Fraction:
        """Return the energy of ``[start_s, end_s)``."""
        return self._kwh_until(end_s) - self._kwh_until(start_s)

    def _kwh_until(self, at_s: int) -> Fraction:
        at = self._at(at_s)
        return self._kwh_before[at] + self._pieces[at].kwh_until(at_s)

    def _at(self, at_s: int) -> int:
        return min(max(bisect_right(self._starts_s, at_s) - 1, 0), len(self._pieces) - 1)


def stepped(edges_s: Sequence[int], rng: Random, share: float = 1) -> Load:
    """Return a load that is constant between the edges; at `share` of these a consumer is switched on or off."""
    on = {kw for kw in CONSUMERS_KW if rng.random() < 1 / 2}
    pieces = []
    for start_s, end_s in pairwise(edges_s):
        kw = Fraction(BASE_KW + sum(on))
        pieces.append(Piece(start_s, end_s, kw, kw))
        if rng.random() < share:
            on ^= {rng.choice(CONSUMERS_KW)}
    return Load(pieces)


def sloped(edges_s: Sequence[int], rng: Random) -> Load:
    """Return a load that changes evenly from edge to edge, by up to 150 kW."""
    kw = [Fraction(800)]
    for _ in edges_s[1:]:
        kw.append(max(kw[-1] + rng.randint(-150, 150), Fraction(BASE_KW)))
    return Load([Piece(*times_s, *powers) for times_s, powers in zip(pairwise(edges_s), pairwise(kw), strict=True)])
