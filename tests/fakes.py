"""A model that thinks in checksums: the engine's backend with honest memory and no weights.

What it says next depends on every token that its memory holds, so a wrong reuse gives a wrong answer. It raises Misuse
where llama.cpp would compute nonsense or abort. Tokens below 256 are bytes, 0 ends; `ANSWER + n` in a prompt asks for n
letters. Under a grammar it says any of what is allowed.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from llguidance import LLTokenizer, TokenizerWrapper

from apps.inference.engine.backend import Chunk, DecodeFailed, NoRoom
from apps.inference.engine.logprobs import Logprob
from apps.inference.engine.matching import Mask
from apps.inference.engine.sampling import Chain

END = 0
ANSWER = 1000
MARKER = 7  # a control token: it has no text of its own
MARKER_TEXT = "<|mark|>"


class Misuse(AssertionError):
    """The engine broke a rule of the backend."""


@dataclass
class Cell:
    """`place` is where it lies in the memory that all slots share."""

    position: int
    token: int
    place: int = -1


@dataclass
class FakeSampler:
    chain: Chain
    recent: tuple[int, ...]
    freed: bool = False
    told: list[int] = field(default_factory=list)  # tokens it did not choose


class Bytes:
    """The vocabulary as llguidance asks for it: a token a byte."""

    eos_token_id, bos_token_id = END, None
    tokens = (b"\xff<end>", *(b"\xff<|mark|>" if byte == MARKER else bytes([byte]) for byte in range(1, 256)))
    special_token_ids = (END, MARKER)

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


TOKENIZER = LLTokenizer(TokenizerWrapper(Bytes()))


@dataclass
class FakeBackend:
    context: int = 64
    slots: int = 4
    batch: int = 16
    outputs: int = 16
    drafts: int = 0
    can_trim: bool = True
    can_shift: bool = True
    shares_cells: bool = True
    reach: int = 1 << 40  # as if a step's cost were its tokens alone
    cells: int = 1 << 20
    takes: Callable[[int], float] = lambda rows: 0.0  # seconds of a step
    now: float = 0.0  # by the clock that knows nothing else
    failures: list[Exception] = field(default_factory=list)  # raised by the next decodes
    steps: list[list[tuple[int, int, int]]] = field(default_factory=list)  # of each: slot, start, length
    copies: list[tuple[int, int, int]] = field(default_factory=list)
    saved: list[int] = field(default_factory=list)  # the slots of each save
    restored: list[int] = field(default_factory=list)
    extents: list[int] = field(default_factory=list)  # at each step: how far into the memory it had to look
    samplers: list[FakeSampler] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.memory: list[list[Cell]] = [[] for _ in range(self.slots)]
        self._rows: list[tuple[int, ...]] = []

    def decode(self, chunks: Sequence[Chunk]) -> None:
        if sum(len(chunk.tokens) for chunk in chunks) > self.batch:
            raise Misuse("more tokens than the batch holds")
        if len({chunk.slot for chunk in chunks}) != len(chunks):
            raise Misuse("a slot twice in one step")
        if sum(chunk.sample for chunk in chunks) > self.outputs:
            raise Misuse("more rows of logits than there is room for")
        if self.failures:
            raise self.failures.pop(0)
        if self._used() + sum(len(chunk.tokens) for chunk in chunks) > self.cells:
            raise NoRoom
        self.steps.append([(chunk.slot, chunk.start, len(chunk.tokens)) for chunk in chunks])
        self.now += self.takes(sum(len(chunk.tokens) for chunk in chunks))
        self._rows = []
        for chunk in chunks:
            self._take(chunk)
        self.extents.append(max(cell.place for held in self.memory for cell in held) + 1)

    def _take(self, chunk: Chunk) -> None:
        held = self.memory[chunk.slot]
        if [cell.position for cell in held] != list(range(chunk.start)):
            raise Misuse(f"slot {chunk.slot} holds {len(held)} cells, not just positions 0 to {chunk.start - 1}")
        if chunk.start + len(chunk.tokens) > self.context:
            raise Misuse("more tokens than the context holds")
        held.extend(self._placed([Cell(chunk.start + at, int(token)) for at, token in enumerate(chunk.tokens)]))
        told = [cell.token for cell in held]
        self._rows += [tuple(told[: len(told) - behind]) for behind in reversed(range(chunk.sample))]

    def _used(self) -> int:
        return len({id(cell) for held in self.memory for cell in held})

    def _placed(self, cells: list[Cell]) -> list[Cell]:
        """Into the free places, from the front."""
        taken = {cell.place for held in self.memory for cell in held}
        free = (place for place in range(self.cells) if place not in taken)
        for cell, place in zip(cells, free, strict=False):
            cell.place = place
        return cells

    def sampler(self, chain: Chain, recent: Sequence[int]) -> FakeSampler:
        self.samplers.append(FakeSampler(chain, tuple(recent)))
        return self.samplers[-1]

    def sample(self, sampler: FakeSampler, row: int, mask: Mask | None = None) -> int:
        if sampler.freed:
            raise Misuse("a sampler that was freed")
        return self.say(self._rows[row]) if mask is None else self.say_of(self._rows[row], mask)

    def say(self, held: Sequence[int]) -> int:
        return say(held)

    def say_of(self, held: Sequence[int], mask: Mask) -> int:
        """One of the tokens allowed; the end as soon as it may."""
        allowed = np.unpackbits(mask, bitorder="little").nonzero()[0].tolist()
        if not allowed:
            raise Misuse("a mask that allows nothing")
        return END if END in allowed else int(allowed[zlib.crc32(repr(list(held)).encode()) % len(allowed)])

    def accept(self, sampler: FakeSampler, token: int) -> None:
        sampler.told.append(token)

    def logprob(self, row: int, token: int, *, top: int) -> Logprob:
        others = tuple(Logprob(bytes([97 + place]), -1.0 - place) for place in range(top))
        return Logprob(self.piece(token), -0.5 - len(self._rows[row]), others)

    def free(self, sampler: FakeSampler) -> None:
        if sampler.freed:
            raise Misuse("a sampler freed twice")
        sampler.freed = True

    def clear(self, slot: int) -> None:
        self.memory[slot] = []

    def trim(self, slot: int, length: int) -> bool:
        if not self.can_trim and length < len(self.memory[slot]):
            return False
        self.memory[slot] = self.memory[slot][:length]
        return True

    def copy(self, source: int, target: int, length: int) -> bool:
        self.copies.append((source, target, length))
        held = self.memory[source]
        self.memory[target] = list(held) if self.shares_cells else self._placed([replace(cell) for cell in held])
        if self.trim(target, length):
            return True
        self.clear(target)
        return False

    def save(self, slot: int) -> list[Cell]:
        self.saved.append(slot)
        return [replace(cell) for cell in self.memory[slot]]

    def restore(self, slot: int, saved: list[Cell]) -> bool:
        if self.memory[slot]:
            raise Misuse("a slot that holds something")
        if self._used() + len(saved) > self.cells:
            return False
        self.memory[slot] = self._placed([replace(cell) for cell in saved])
        self.restored.append(slot)
        return True

    def shift(self, slot: int, keep: int, discard: int, length: int) -> None:
        if not self.can_shift or length != len(self.memory[slot]):
            raise Misuse("a shift that cannot be")
        self.memory[slot] = self.memory[slot][:keep] + self.memory[slot][keep + discard :]
        for cell in self.memory[slot][keep:]:
            cell.position -= discard

    def piece(self, token: int) -> bytes:
        return bytes([token]) if 0 < token < 256 and token != MARKER else b""

    def marker(self, text: str) -> int | None:
        return MARKER if text == MARKER_TEXT else None

    def tokenizer(self) -> LLTokenizer:
        return TOKENIZER

    def ends(self, token: int) -> bool:
        return token == END


def say(held: Sequence[int]) -> int:
    """The next token: a letter that depends on everything held, or the end once what was asked for is said."""
    asked = max((at for at, token in enumerate(held) if token >= ANSWER), default=None)
    if asked is not None and len(held) - asked - 1 == held[asked] - ANSWER:
        return END
    return 97 + zlib.crc32(repr(list(held)).encode()) % 26


def answer(prompt: Sequence[int], length: int) -> str:
    """What the model says to a prompt, alone and unhurried, cut at `length` tokens."""
    held = list(prompt)
    while len(held) - len(prompt) < length and (token := say(held)) != END:
        held.append(token)
    return bytes(held[len(prompt) :]).decode()


__all__ = [
    "ANSWER",
    "END",
    "MARKER",
    "MARKER_TEXT",
    "TOKENIZER",
    "DecodeFailed",
    "FakeBackend",
    "FakeSampler",
    "Misuse",
    "NoRoom",
    "answer",
]
