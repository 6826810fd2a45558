"""Who computes what in the next step. Pure policy; nothing is computed or moved here.

A step has a token budget while a stream is running, so that no stream waits long for its next token: every running
sequence takes one token, and prompts take what is left. Deep in a prompt a token costs more, as it has more before it,
and the streams wait for the time, not the tokens: from EVEN on a step has fewer. With no stream running, prompts may
fill the whole batch.
A stream that its grammar leaves no choice for some tokens takes them all in one step. While no prompt is computed,
streams guess what they will say next, and the guesses are computed too (drafting.py).
An image has a batch of its own behind the step's, no larger than a step unless its rows must come all at once.
"""

from collections import deque
from collections.abc import Iterator
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, field, replace

import numpy as np

from apps.inference.engine.backend import Chunk, Tokens
from apps.inference.engine.costs import TILE, Costs
from apps.inference.engine.drafting import NOTHING, choose
from apps.inference.engine.sequence import Sequence
from apps.inference.engine.slots import Slot
from apps.inference.engine.vision import Picture

FORCED = 32  # tokens that one stream may take in a step without having been asked
EVEN = 2048  # how deep a prompt may be for its steps to have all the tokens they are set to


@dataclass(frozen=True, slots=True)
class Part:
    """One sequence's share of a step. A `draft` is computed behind what completes it."""

    sequence: Sequence
    slot: Slot
    length: int
    picture: Picture | None = None
    draft: Tokens = field(default_factory=lambda: NOTHING)

    @property
    def completes(self) -> bool:
        """Whether nothing of the sequence is left to compute after it, so that its next token can be sampled."""
        return self.length == self.slot.remaining

    @property
    def rows(self) -> int:
        """How many of its tokens' logits are sampled from."""
        return 1 + len(self.draft) if self.completes else 0

    def chunk(self) -> Chunk:
        at, sequence, picture = self.slot.length, self.sequence, self.picture
        tokens, start = sequence.tokens[at : at + self.length], sequence.position(at)
        if picture is None:
            return Chunk(self.slot.index, start, np.concatenate([tokens, self.draft]), self.rows)
        rows = picture.part(at, self.length)
        positions = picture.positions(at, self.length, begin=sequence.position(picture.start))
        return Chunk(self.slot.index, start, tokens, self.rows, rows, picture.rows.causal, positions)


class Scheduler:
    """Waiting sequences have no slot; held ones have a slot and wait for a prefix; running ones compute."""

    def __init__(self, *, step_tokens: int, batch: int, reach: int, outputs: int, drafts: int) -> None:
        self._step_tokens = max(1, min(step_tokens, batch))
        self._batch = batch
        self._reach = reach
        self._outputs = outputs
        self._drafts = drafts
        self._costs = Costs()
        self.waiting: deque[Sequence] = deque()
        self.held: list[Slot] = []
        self.running: list[Slot] = []

    def __len__(self) -> int:
        return len(self.waiting) + len(self.held) + len(self.running)

    def find(self, run: str) -> Sequence | None:
        return next((sequence for sequence in self.sequences() if sequence.job.run == run), None)

    def sequences(self) -> Iterator[Sequence]:
        yield from self.waiting
        yield from (slot.owner for slot in [*self.held, *self.running] if slot.owner)

    def remove(self, sequence: Sequence) -> Slot | None:
        """Take the sequence out, wherever it is; its slot if it had one."""
        if sequence in self.waiting:
            self.waiting.remove(sequence)
            return None
        for queue in (self.held, self.running):
            for slot in queue:
                if slot.owner is sequence:
                    queue.remove(slot)
                    return slot
        return None

    def plan(self) -> list[Part]:
        """The next step: streams first, in order of arrival; then prompts."""
        streams = [slot for slot in self.running if slot.remaining <= 1 + FORCED and slot.owner and slot.owner.sampled]
        prompts = [slot for slot in self.running if slot not in streams]
        taken = [slot.readable for slot in streams]
        if sum(taken) > self._batch:
            taken = divide(self._batch, taken)
        if not prompts:
            return self._with_drafts([*zip(streams, taken, strict=True)])
        depth = max((slot.length for slot in prompts), default=0)
        shares = divide(self._room(sum(taken), depth), [slot.readable for slot in prompts])
        pairs = [*zip(streams, taken, strict=True), *zip(prompts, shares, strict=True)]
        return [Part(slot.owner, slot, length) for slot, length in pairs if slot.owner and length]

    def _with_drafts(self, streams: Ordered[tuple[Slot, int]]) -> list[Part]:
        """Streams alone may have their guesses computed too."""
        parts = [Part(slot.owner, slot, length) for slot, length in streams if slot.owner and length]
        if not self._drafts:
            return parts
        rows = sum(part.length for part in parts)
        guesses = [part.sequence.guess(self._drafts if part.completes else 0) for part in parts]
        room = min(self._outputs - len(parts), self._batch - rows)
        lengths = choose([odds for _, odds in guesses], rows=rows, most=room, cost=self._costs.of)
        chosen = zip(parts, guesses, lengths, strict=True)
        return [replace(part, draft=tokens[:length]) if length else part for part, (tokens, _), length in chosen]

    def took(self, plan: Ordered[Part], seconds: float) -> None:
        """How long a step was. Rows whose logits nobody wants, a prompt's or forced ones, tell nothing of what a guess
        costs."""
        rows = sum(part.rows for part in plan)
        if rows == sum(part.length + len(part.draft) for part in plan):
            self._costs.note(rows, seconds)
        else:
            self._costs.pause()

    def look(self) -> Part | None:
        """What is to be computed of the oldest prompt that has come to a picture."""
        for slot in self.running:
            if slot.owner and slot.owner.job.pictures and (picture := slot.owner.picture(slot.length)):
                left = picture.end - slot.length
                length = min(left, self._glance()) if picture.rows.causal else left
                return Part(slot.owner, slot, length, picture)
        return None

    def _glance(self) -> int:
        """The most rows of a picture at once, where they may be cut."""
        streaming = any(slot.owner and slot.owner.sampled for slot in self.running)
        return self._step_tokens if streaming else self._batch

    def _room(self, taken: int, depth: int) -> int:
        """Tokens left for prompts, the deepest of which has come so far. Whatever the streams take, prompts keep a
        quarter of the step and never starve."""
        if not taken:
            return self._batch
        budget = self._step_tokens * (self._reach + EVEN) // (self._reach + max(depth, EVEN))
        budget -= budget % TILE if budget > TILE else 0  # a step that is no multiple of it is 3 % slower on a CPU
        return min(max(budget - taken, self._step_tokens // 4), max(0, self._batch - taken))


def divide(room: int, needs: Ordered[int]) -> list[int]:
    """Split `room` tokens among prompts in order of arrival.

    The oldest has a right to half of it, so that it always gets on. The rest goes to who needs least, so that a short
    prompt is not stuck behind a long one. One prompt alone gets all.
    """
    shares = [0] * len(needs)
    if not needs:
        return shares

    def give(index: int, most: int) -> None:
        nonlocal room
        share = min(needs[index] - shares[index], most, room)
        shares[index] += share
        room -= share

    give(0, (room + 1) // 2)
    for index in sorted(range(len(needs)), key=lambda index: needs[index] - shares[index]):
        give(index, room)
    return shares
