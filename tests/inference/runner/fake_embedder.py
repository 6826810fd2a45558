"""An embedding context that computes what a test can foresee, and refuses what llama.cpp would crash on."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from apps.errors import Problem
from apps.inference.engine.backend import Chunk, DecodeFailed, Tokens
from apps.inference.engine.embed import Vector
from tests.fakes import Misuse

NAN_TOKEN, NOTHING = 666, 99


@dataclass
class FakeEmbedder:
    """The vector of a text is (its first token, its length, 0, …)."""

    batch: int = 8
    sequences: int = 4
    whole: bool = False
    width: int = 4
    most: int = 1 << 20  # tokens that there is memory for
    nothing: Tokens = field(default_factory=lambda: np.asarray([NOTHING], dtype=np.int32))
    failures: int = 0
    room: int = 0
    steps: list[list[tuple[int, int, int]]] = field(default_factory=list)  # of each batch: slot, start, length
    held: dict[int, list[int]] = field(default_factory=dict)

    def takes(self, length: int) -> bool:
        return length <= self.room

    def prepare(self, length: int) -> None:
        if any(self.held.values()):
            raise Misuse("a new context while a text is half done")
        if length > self.most:
            raise Problem("unavailable", "no memory")
        self.room = max(self.batch, length)
        if self.whole:
            self.batch = self.room

    def compute(self, chunks: Sequence[Chunk]) -> list[Vector]:
        if not chunks or sum(len(chunk.tokens) for chunk in chunks) > self.batch:
            raise Misuse("a batch of no tokens, or of more than it holds")
        if len({chunk.slot for chunk in chunks}) != len(chunks) or len(chunks) > self.sequences:
            raise Misuse("a slot twice, or too many texts")
        self.steps.append([(chunk.slot, chunk.start, len(chunk.tokens)) for chunk in chunks])
        if self.failures:
            self.failures -= 1
            self.held.clear()
            raise DecodeFailed("it broke")
        return [self._finish(chunk) for chunk in chunks if self._take(chunk)]

    def _take(self, chunk: Chunk) -> bool:
        held = self.held.setdefault(chunk.slot, [])
        if len(held) != chunk.start or (self.whole and not chunk.sample):
            raise Misuse(f"slot {chunk.slot} holds {len(held)} tokens, not {chunk.start}; or a text was cut")
        held.extend(int(token) for token in chunk.tokens)
        return chunk.sample

    def _finish(self, chunk: Chunk) -> Vector:
        held = self.held.pop(chunk.slot)
        first = np.nan if NAN_TOKEN in held else held[0]
        return np.asarray([first, len(held), *[0] * (self.width - 2)], dtype=np.float32)

    def forget(self, slot: int) -> None:
        self.held.pop(slot, None)

    def close(self) -> None:
        self.room = 0
