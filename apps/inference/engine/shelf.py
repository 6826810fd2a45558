"""Memory for what slots hold while it is parked. Pure.

What was let go of is used for the next: the pages that the system gives anew cost several times what it takes to fill
them, and somebody waits for their first token meanwhile (docs/benchmarks.md).
"""

import weakref

import numpy as np
from numpy.typing import NDArray

Buffer = NDArray[np.uint8]
# A part of its size is added to a new buffer, as conversations grow; what is not written to takes no memory.
_GROWTH = 8
_FIT = 1.5  # a buffer may be so many times as large as what is put into it


class Saved:
    """Bytes of a slot. Their memory goes back to its shelf with the last reference."""

    def __init__(self, buffer: Buffer, shelf: "Shelf") -> None:
        self.buffer = buffer
        self.length = 0  # bytes of the buffer that are filled
        weakref.finalize(self, shelf.put_back, buffer).atexit = False


class Shelf:
    """Never holds more in all than was in use at some time."""

    def __init__(self) -> None:
        self._free: list[Buffer] = []
        self._used = 0
        self._peak = 0

    @property
    def bytes(self) -> int:
        """Of all buffers, used and free."""
        return self._used + sum(buffer.size for buffer in self._free)

    def take(self, size: int) -> Saved:
        """Room for so many bytes."""
        fitting = [place for place, buffer in enumerate(self._free) if size <= buffer.size <= _FIT * size]
        best = min(fitting, key=lambda place: self._free[place].size, default=None)
        buffer = np.empty(size + size // _GROWTH, dtype=np.uint8) if best is None else self._free.pop(best)
        self._used += buffer.size
        self._peak = max(self._peak, self._used)
        self._keep_to_peak()
        return Saved(buffer, self)

    def put_back(self, buffer: Buffer) -> None:
        self._used -= buffer.size
        self._free.append(buffer)
        self._keep_to_peak()

    def _keep_to_peak(self) -> None:
        while self._free and self.bytes > self._peak:
            del self._free[0]  # the one that was let go of first
