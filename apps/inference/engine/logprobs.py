"""How likely the model thought what it said: the logarithm of the softmax of its raw logits, before penalties,
temperature and grammar. Nothing here runs unless it was asked for."""

import codecs
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 20  # alternatives that may be asked for


@dataclass(frozen=True, slots=True)
class Logprob:
    """One token; `top` are the likeliest in its place, best first, empty where none were asked for."""

    token: bytes
    logprob: float
    top: tuple["Logprob", ...] = ()

    def as_data(self) -> dict[str, Any]:
        """An item of a frame's "lp" (apps/inference/types.py)."""
        data: dict[str, Any] = {
            "token": self.token.decode("utf-8", "replace"),
            "logprob": self.logprob,
            "bytes": list(self.token),
        }
        return {**data, "top": [other.as_data() for other in self.top]} if self.top else data


def weigh(row: NDArray[np.float32], token: int, *, top: int) -> tuple[float, list[tuple[int, float]]]:
    """The token's logprob, and the `top` likeliest tokens with theirs, best first."""
    best = float(row.max())
    total = best + float(np.log(np.exp(row - best).sum(dtype=np.float64)))
    count = min(top, MOST, row.size)
    if not count:
        return float(row[token]) - total, []
    ids = np.argpartition(row, row.size - count)[-count:]
    ids = ids[np.argsort(row[ids], kind="stable")[::-1]]
    return float(row[token]) - total, [(int(one), float(row[one]) - total) for one in ids]


class Ledger:
    """Keeps each token's logprob until the text it is part of may be sent, so that both come together and in order."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._kept: deque[tuple[int, int, Logprob]] = deque()  # where its characters begin and end
        self._decoded = self._sent = 0  # characters

    def note(self, logprob: Logprob, piece: bytes) -> None:
        start = self._decoded
        self._decoded += len(self._decoder.decode(piece))
        half = bool(self._decoder.getstate()[0])  # then it ends in a character that others complete
        self._kept.append((start, self._decoded + half, logprob))

    def release(self, text: str) -> tuple[Logprob, ...]:
        """What belongs to all of the text sent so far, this text included."""
        self._sent += len(text)
        found = []
        while self._kept and self._kept[0][1] <= self._sent:
            found.append(self._kept.popleft()[2])
        return tuple(found)

    def close(self, text: str, *, stopped: bool) -> tuple[Logprob, ...]:
        """The rest with the last text. Where a stop string ended it, only tokens of which some text was sent."""
        found = self.release(text)
        rest = [logprob for start, _, logprob in self._kept if not stopped or start < self._sent]
        self._kept.clear()
        return (*found, *rest)
