"""Slots: which one holds which tokens, who may reuse them, and how a new sequence gets its prefix.

In unified memory every step looks at all cells up to the last one in use, so what idle slots hold slows down the
others: it is parked, that is, kept outside of llama.cpp's memory until somebody wants it again. What there is no room
to park stays where it is: a slower step costs less than a prompt that is computed anew. What another slot holds as
well, such as a SYSTEM that many share, is kept once.

A prefix is reused in three ways: the sequence takes a free slot that holds it, copies it from any other slot, or waits
for a slot that is computing it right now and copies it then. How far two sequences may share is `shareable` alone.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from apps.inference.engine.backend import Backend, Tokens
from apps.inference.engine.loading import PARKED_SHARE
from apps.inference.engine.sequence import Sequence

WAIT_FOR = 32  # tokens that must be gained before a wait begins
COPY = 8  # tokens; fewer are computed as fast as they are copied
SPARE = 32  # tokens that may be lost with a slot as if it were empty
IDLE = 128  # tokens that idle slots may hold in place while others compute: parking so few costs more than it gains


@dataclass
class Slot:
    """`tokens[:length]` is what its memory holds, or what is `parked` for it. Of these the first `exact` were computed
    from just the tokens before them (a shift ends that), and the first `entangled` may be memory cells that another
    slot holds too."""

    index: int
    tokens: Tokens
    length: int = 0
    exact: int = 0
    entangled: int = 0
    share_key: str = ""
    public_tokens: int = 0
    used: int = 0
    owner: Sequence | None = None
    awaiting: bool = False
    parked: Any = None

    @property
    def is_leaving(self) -> bool:
        """Whether what it holds is about to be overwritten: it was claimed, and is not prepared yet."""
        return self.owner is not None and self.tokens is not self.owner.tokens

    @property
    def remaining(self) -> int:
        """Tokens that its sequence has and its memory has not."""
        return self.owner.count - self.length if self.owner else 0

    @property
    def readable(self) -> int:
        """As `remaining`, up to the next picture, which is not computed with words."""
        return self.owner.words_from(self.length) if self.owner and self.owner.job.pictures else self.remaining

    def grow(self, count: int) -> None:
        if self.exact == self.length:
            self.exact += count
        self.length += count

    def forget(self, length: int) -> None:
        self.length = min(self.length, length)
        self.exact = min(self.exact, length)
        self.entangled = min(self.entangled, length)
        if not length:
            self.parked = None


def common(one: Tokens, other: Tokens) -> int:
    """Length of the common prefix."""
    length = min(len(one), len(other))
    differs = one[:length] != other[:length]
    return int(differs.argmax()) if differs.any() else length


def _position(slot: Slot, length: int) -> int:
    """Where the first `length` tokens of a claimed slot's sequence end."""
    assert slot.owner is not None
    return slot.owner.position(length)


class Party(Protocol):
    """A job, or a slot that holds what one left. The first `public_tokens` are anybody's."""

    @property
    def share_key(self) -> str: ...

    @property
    def public_tokens(self) -> int: ...


def shareable(prefix: int, wants: Party, holds: Party) -> int:
    """How much of a common prefix may be taken: all under one share key, else what is public for both."""
    if wants.share_key and wants.share_key == holds.share_key:
        return prefix
    return min(prefix, wants.public_tokens, holds.public_tokens)


class Slots:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._clock = 0
        self.all = [Slot(index, np.empty(0, dtype=np.int32)) for index in range(backend.slots)]

    def claim(self, sequence: Sequence) -> Slot | None:
        """Give the sequence the free slot that saves the most work, then the one whose loss matters least.

        What the slot holds stays until `prepare`. None when all are taken.
        """
        free = [slot for slot in self.all if slot.owner is None]
        if not free:
            return None
        own = {slot.index: self._usable(slot, sequence) for slot in self.all}

        def cost(slot: Slot) -> tuple[int, bool, int, int]:
            copied = max((length for index, length in own.items() if index != slot.index), default=0)
            reused = max(own[slot.index], copied if copied >= COPY else 0)
            wasted = slot.length - own[slot.index] > SPARE
            if wasted:  # what is saved can be had by a copy too, so the one that nobody came back to for longest goes
                return -reused, wasted, slot.used, -own[slot.index]
            return -reused, wasted, -own[slot.index], slot.used

        chosen = min(free, key=cost)
        chosen.owner = sequence
        return chosen

    def awaits(self, slot: Slot) -> bool:
        """Whether a longer prefix for this slot's sequence is being computed right now, and is worth the wait.

        Who has begun to wait does so to the end of that prefix, which is near then, and others may wait for it too.
        """
        sequence = slot.owner
        if sequence is None or not self._backend.can_trim:
            return False
        ready = max(self._usable(other, sequence) for other in self.all)
        coming = max((self._coming(other, sequence) for other in self.all if other is not slot), default=0)
        slot.awaiting = coming - ready >= (1 if slot.awaiting else WAIT_FOR)
        return slot.awaiting

    def prepare(self, slot: Slot) -> None:
        """Make the slot hold as much of its sequence's prompt as may be had without computing it."""
        sequence = slot.owner
        assert sequence is not None
        own, (length, source) = self._usable(slot, sequence), self._source(slot, sequence)
        borrows = length >= own + COPY
        self._park_beyond(IDLE, but=source if borrows else None)  # first: what is brought back takes the cells in front
        reused = self._borrow(source, slot, length) if borrows else self._keep(slot, own)
        slot.tokens, slot.length, slot.exact = sequence.tokens, reused, reused
        slot.share_key, slot.public_tokens = sequence.job.share_key, sequence.job.public_tokens
        if not sequence.sampled:  # a sequence that comes back after it lost its slot was counted before
            sequence.cached_tokens = reused
        self._park_beyond(IDLE)

    def shift(self, slot: Slot) -> None:
        """Discard the oldest half of a full slot behind the tokens to keep. Cells that another slot shares cannot be
        moved: then the slot is cleared, and what remains is computed anew."""
        sequence = slot.owner
        assert sequence is not None
        keep = sequence.keep
        discard = max(1, (slot.length - keep) // 2)
        if self._backend.shares_cells and slot.entangled > keep + discard:
            self.clear(slot)
        else:
            self._backend.shift(slot.index, keep, discard, slot.length)
            slot.forget(slot.length - discard)
            slot.exact = min(slot.exact, keep)
        sequence.drop_middle(discard)

    def release(self, slot: Slot) -> None:
        """The sequence left; what it computed stays for the next one."""
        self._clock += 1
        slot.owner, slot.used, slot.awaiting = None, self._clock, False
        self._park_beyond(max(IDLE, slot.length))  # who asked last is the likeliest to ask again

    def clear(self, slot: Slot) -> None:
        self._backend.clear(slot.index)
        slot.forget(0)

    def drop_behind(self, slot: Slot) -> None:
        """Forget what was computed behind what the slot counts: guesses that did not come true."""
        if not self._backend.trim(slot.index, _position(slot, slot.length)):
            self.clear(slot)

    def drop_idle(self) -> bool:
        """Clear the free slot that was used longest ago; False when none holds anything."""
        idle = [slot for slot in self.all if slot.owner is None and slot.length and slot.parked is None]
        if idle:
            self.clear(min(idle, key=lambda slot: slot.used))
        return bool(idle)

    def _usable(self, slot: Slot, sequence: Sequence) -> int:
        """How much of the slot's memory the sequence may take over. The last token is computed always, for logits."""
        held = min(slot.length, slot.exact)
        prefix = self._shared(slot, sequence, slot.tokens[:held])
        if not self._backend.can_trim and prefix != slot.length:
            return 0
        return prefix

    def _source(self, slot: Slot, sequence: Sequence) -> tuple[int, Slot]:
        """The other slot that offers the longest prefix, and its length; of several the one that is copied soonest."""
        offers = [(self._usable(other, sequence), other) for other in self.all if other is not slot]
        return max(offers, key=lambda offer: (offer[0], offer[1].parked is None, -offer[1].length), default=(0, slot))

    def _coming(self, slot: Slot, sequence: Sequence) -> int:
        """As `_usable`, once the slot's own sequence is computed. One that is not prepared yet promises nothing."""
        busy = slot.owner
        if busy is None or slot.is_leaving or slot.exact < slot.length:
            return 0
        return self._shared(slot, sequence, busy.tokens[: busy.count])

    def _shared(self, slot: Slot, sequence: Sequence, held: Tokens) -> int:
        wanted = sequence.tokens[: sequence.count - 1]
        prefix = sequence.before_picture(common(wanted, held))
        return shareable(prefix, sequence.job, slot)

    def _park_beyond(self, limit: int, *, but: Slot | None = None) -> None:
        """Park what idle slots hold, that of longest ago first, until `limit` tokens at most are left in place, or
        until as much is parked as may be. One slot may be left out."""
        if not (self._backend.shares_cells and self._backend.can_trim):
            return
        idle = sorted((slot for slot in self.all if slot.owner is None and slot.length), key=lambda slot: slot.used)
        held = {slot.index: self._alone(slot) for slot in idle if slot.parked is None}
        room = self._backend.context * len(self.all) // PARKED_SHARE
        room -= sum(slot.length for slot in self.all if slot.parked is not None)
        for slot in idle:
            if sum(held.values()) <= limit:
                break
            if slot is but or not held.get(slot.index):
                continue
            if self._spare(slot):
                self.clear(slot)
            elif slot.length <= room:
                room -= slot.length
                slot.parked, slot.entangled = self._backend.save(slot.index), 0
                self._backend.clear(slot.index)
            else:
                continue
            del held[slot.index]

    def _alone(self, slot: Slot) -> int:
        """How many of an idle slot's cells no busy slot holds too."""
        busy = (other for other in self.all if other.owner is not None and other.entangled)
        mine = slot.tokens[: slot.entangled]
        return slot.length - max((common(mine, other.tokens[: other.entangled]) for other in busy), default=0)

    def _spare(self, slot: Slot) -> bool:
        """Whether it is not missed: another slot holds the same but for a few tokens, and may share it."""
        mine = slot.tokens[: slot.length]
        others = (other for other in self.all if other is not slot and other.length and not other.is_leaving)
        return any(
            slot.length - shareable(common(mine, other.tokens[: min(other.length, other.exact)]), slot, other) <= SPARE
            for other in others
        )

    def _unpark(self, slot: Slot) -> bool:
        """Bring back what is parked; False where there is no room for it, and the slot is empty."""
        if slot.parked is None:
            return True
        saved, slot.parked = slot.parked, None
        if not self._backend.restore(slot.index, saved):
            slot.forget(0)
        return slot.length > 0

    def _keep(self, slot: Slot, length: int) -> int:
        if length and not self._unpark(slot):
            return 0
        if length == slot.length:
            return length
        if length and self._backend.trim(slot.index, _position(slot, length)):
            slot.forget(length)
            return length
        self.clear(slot)
        return 0

    def _borrow(self, source: Slot, slot: Slot, length: int) -> int:
        """Copy a prefix; what was parked goes back to where it was."""
        parked = source.parked
        self.clear(slot)
        if not self._unpark(source):
            return self._keep(slot, 0)
        reused = self._copy(source, slot, length)
        if parked is not None:
            self._backend.clear(source.index)
            source.parked, source.entangled, slot.entangled = parked, 0, 0
        return reused

    def _copy(self, source: Slot, slot: Slot, length: int) -> int:
        if not self._backend.copy(source.index, slot.index, _position(slot, length)):
            return 0
        source.entangled = max(source.entangled, length)
        slot.entangled = length
        return length
