"""Images are read and encoded on a thread of their own, so that running streams go on; what was seen is remembered.

An encoding takes seconds on a CPU, and the decoding thread would stand still for all of it. Two computing threads have
two OpenMP teams, which slow down every step even while one of them is idle (see llama.Llama). So this thread lives only
while there are images to encode, and weighs less than a stream's: where both want all processors it gets about a
quarter of them, which is what the scheduler leaves to prompts, too.
"""

import contextlib
import hashlib
import os
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np

from apps.errors import Problem
from apps.inference.engine.backend import Tokens
from apps.inference.engine.vision import Look, Picture, Piece, Projector, Rows, expand, places

REMEMBERED_BYTES = 128 << 20
_NICE = 5  # a third of a usual thread's weight
TOO_LONG = (
    "the prompt with its images is longer than the context length currently available to the model ({} tokens); send "
    "fewer images, shorten the prompt, or adjust the context length in settings"
)

Seen = tuple[Tokens, tuple[Picture, ...]]
Pieces = tuple[Piece, ...]
Key = tuple[str, bytes]  # whose it is, and the digest


@dataclass(frozen=True)
class Order:
    """The images of one run, at their places in its tokens. Its prompt may take up to `context` tokens less one.

    `wanted` says whether the run still waits; `done` is called from another thread, with the tokens and pictures or
    with why there are none, but not for a run that does not wait any longer. What was seen is remembered under the
    `share_key`: the time that an image takes tells nobody what others have shown.
    """

    tokens: Tokens
    images: Sequence[bytes]
    share_key: str
    context: int
    wanted: Callable[[], bool]
    done: Callable[[Seen | Problem], None]


class Eyes:
    def __init__(self, projector: Projector, *, remembered: int = REMEMBERED_BYTES) -> None:
        self._projector = projector
        self._memory = Memory(remembered)
        self._orders: deque[Order] = deque()
        self._lock = threading.Lock()
        self._open = False  # whether the thread is there

    def order(self, order: Order) -> None:
        with self._lock:
            self._orders.append(order)
            if not self._open:
                self._open = True
                threading.Thread(target=self._work, name="images", daemon=True).start()

    def _work(self) -> None:
        _step_back()
        while order := self._next():
            result = self._answer(order)
            if order.wanted():
                order.done(result)

    def _next(self) -> Order | None:
        with self._lock:
            self._open = bool(self._orders)
            return self._orders.popleft() if self._orders else None

    def _answer(self, order: Order) -> Seen | Problem:
        try:
            return self._see(order)
        except Problem as problem:
            return problem

    def _see(self, order: Order) -> Seen:
        """All images are measured before the first is encoded: what does not fit costs little. Raises Problem."""
        numbers = places(order.tokens)
        if any(number >= len(order.images) for number in numbers):
            raise Problem("invalid", "the prompt names an image that was not sent")
        digests = {number: hashlib.sha256(order.images[number]).digest() for number in numbers}
        with ExitStack() as stack:
            found: dict[bytes, Look | Pieces] = {}
            left = order.context - 1 - int(np.count_nonzero(order.tokens >= 0))
            for number in numbers:
                digest = digests[number]
                if digest not in found:
                    found[digest] = self._find(order, number, digest, stack)
                left -= _length(found[digest])
                if left < 0:
                    raise Problem("invalid", TOO_LONG.format(order.context))
            seen = {digest: self._encode(order, digest, what) for digest, what in found.items()}
        return expand(order.tokens, {number: seen[digest] for number, digest in digests.items()})

    def _find(self, order: Order, number: int, digest: bytes, stack: ExitStack) -> Look | Pieces:
        if order.share_key and (known := self._memory.get((order.share_key, digest))):
            return known
        return stack.enter_context(closing(self._projector.read(order.images[number])))

    def _encode(self, order: Order, digest: bytes, what: Look | Pieces) -> Pieces:
        if isinstance(what, tuple):
            return what
        if not order.wanted():  # nobody will hear of this
            raise Problem("cancelled", "request canceled")
        pieces = what.pieces()
        self._memory.put((order.share_key, digest), pieces)
        return pieces


class Memory:
    """The images seen last, up to so many bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._kept: OrderedDict[Key, Pieces] = OrderedDict()

    def get(self, key: Key) -> Pieces:
        """Nothing where it is not known."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key, ())

    def put(self, key: Key, pieces: Pieces) -> None:
        self._kept[key] = pieces
        self._size += _bytes(pieces)
        while self._size > self._limit:
            _, forgotten = self._kept.popitem(last=False)
            self._size -= _bytes(forgotten)


def _bytes(pieces: Pieces) -> int:
    return sum(piece.values.nbytes for piece in pieces if isinstance(piece, Rows))


def _length(what: Look | Pieces) -> int:
    if not isinstance(what, tuple):
        return what.tokens
    return sum(len(piece.ids) if isinstance(piece, Rows) else len(piece) for piece in what)


def _step_back() -> None:
    """This thread and those it starts get less of the processors. Elsewhere than on Linux all threads are equal."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
