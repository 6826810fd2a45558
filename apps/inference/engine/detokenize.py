"""Bytes of tokens to text that may be sent: half characters and possible stop strings are held back.

The text that comes out does not depend on how the bytes were cut into tokens. The stop string that is completed
first wins, the longer one where two end together; neither it nor anything after it is ever part of the text.
"""

import codecs
from collections.abc import Sequence


class TextStream:
    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._longest = max(map(len, self._stops), default=0)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stop = ""  # the stop string that was completed

    @property
    def stopped(self) -> bool:
        return bool(self.stop)

    def push(self, piece: bytes) -> str:
        """The text that became certain with this piece; sets `stop` when it completed one."""
        text = self._decoder.decode(piece)
        if not self._stops:
            return text
        return self._release(self._held + text) if text else ""

    def close(self) -> str:
        """What was held back only for a stop string that never came. Half a character at the very end is no text."""
        held, self._held = self._held, ""
        return "" if self.stopped else held

    def _release(self, text: str) -> str:
        found = [(at + len(stop), at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            _, at, self.stop = min(found)
            return text[:at]
        safe = len(text) - self._doubtful(text)
        self._held = text[safe:]
        return text[:safe]

    def _doubtful(self, text: str) -> int:
        """How many of the last characters may yet turn out to begin a stop string."""
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            tail = text[-length:]
            if any(stop.startswith(tail) for stop in self._stops):
                return length
        return 0
