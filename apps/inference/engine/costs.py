"""What a step takes by the number of its rows, as far as this processor has shown.

Processors differ: where one computes four rows in 1.8 times the time of one, another needs 3.3, and a GPU next to
nothing more. So what is assumed at first gives way to what is seen: two steps of different size, one right behind the
other, tell how their costs compare, however fast the machine is in that hour.

The logarithm of a cost is a slope times what is assumed, and for each size something of its own. A Kalman filter
(Kalman, 1960) weighs these against each other. Where the rows that were tried are cheap, those that were not are taken
to be cheap too. Where they are dear the others are taken to be no dearer than assumed, or they would never be tried.
"""

import math
from typing import Final

import numpy as np

TILE: Final = 4  # rows that llama.cpp computes together on a CPU
_FIXED: Final = 2.5  # rows that a step without any would cost, at first (docs/benchmarks.md)
_MOST: Final = 64  # sizes that are told apart
# Standard deviations: how far from 1 the slope may be, how far each size from that, and how far a measurement is off.
_SLOPE, _OWN, _NOISE = 1.0, 0.3, 0.3
_LARGEST: Final = math.log(2)  # surprise: a step may have been held up
_KEPT: Final = 1 - 1 / 4000  # of what was learned, after each step: what once seemed too dear is tried again
_FIRST: Final = np.diag([_SLOPE**2] + [_OWN**2] * _MOST)


class Costs:
    """Costs have a unit of their own: only their ratios mean anything."""

    def __init__(self) -> None:
        self._known = np.zeros(1 + _MOST)  # the slope less 1, and what is each size's own
        self._doubt = _FIRST  # their covariance
        self._tried: set[int] = set()
        self._last: tuple[int, float] | None = None

    def of(self, rows: int) -> float:
        smaller = () if rows in self._tried else [size for size in self._tried if size < rows]
        if not smaller:
            return math.exp(self._believed(rows))
        nearest, slope = max(smaller), min(1 + self._known[0], 1.0)
        return math.exp(self._believed(nearest) + slope * (_assumed(rows) - _assumed(nearest)))

    def note(self, rows: int, seconds: float) -> None:
        """A step's time, which comes right behind that of the last one noted."""
        self._fade()
        last, self._last = self._last, (rows, seconds)
        if last is None or rows == last[0] or max(rows, last[0]) > _MOST or min(seconds, last[1]) <= 0:
            return
        self._tried |= {rows, last[0]}
        surprise = math.log(seconds / last[1]) - self._believed(rows) + self._believed(last[0])
        self._learn(rows, last[0], min(max(surprise, -_LARGEST), _LARGEST))

    def pause(self) -> None:
        """A step of another kind comes between."""
        self._last = None

    def _believed(self, rows: int) -> float:
        """The logarithm of a cost."""
        own = float(self._known[rows]) if rows <= _MOST else 0.0
        return (1 + float(self._known[0])) * _assumed(rows) + own

    def _learn(self, rows: int, other: int, surprise: float) -> None:
        seen = np.zeros(1 + _MOST)
        seen[[0, rows, other]] = _assumed(rows) - _assumed(other), 1.0, -1.0
        doubts = self._doubt @ seen
        gain = doubts / (seen @ doubts + _NOISE**2)
        self._known += gain * surprise
        self._doubt = self._doubt - np.outer(gain, doubts)

    def _fade(self) -> None:
        self._known *= _KEPT
        self._doubt = _FIRST + _KEPT**2 * (self._doubt - _FIRST)


def _assumed(rows: int) -> float:
    """The logarithm of what a CPU was seen to take."""
    return math.log(_FIXED + (rows if rows <= TILE else TILE * -(-rows // TILE)))
