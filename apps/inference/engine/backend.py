"""What the engine asks of a loaded model. `llama.py` answers with llama.cpp, the tests with a fake.

Slots are numbered from 0. Positions inside a slot count from 0 and have no gaps, but behind an image whose rows share
positions, so that a slot may hold more tokens than it has positions. All lengths are in tokens.
Every method but the constructor's and `tokenizer` is called from the engine's one thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from llguidance import LLTokenizer
from numpy.typing import NDArray

from apps.inference.engine.logprobs import Logprob
from apps.inference.engine.matching import Mask
from apps.inference.engine.sampling import Chain

Tokens = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens that one slot takes in this step, from position `start` on; the logits of its last `sample` are wanted.

    A chunk of an image has a row of `embeddings` for each of its tokens, which then only name them. Nothing else is
    computed beside it. Unless it is `causal` its rows see one another. Where rows have more than one position each,
    `positions` are int32 of [sections, tokens], and `start` means nothing.
    """

    slot: int
    start: int
    tokens: Tokens
    sample: int
    embeddings: NDArray[np.float32] | None = None
    causal: bool = True
    positions: NDArray[np.int32] | None = None


class NoRoom(Exception):
    """The memory had no cells for this batch; nothing of it was computed."""


class DecodeFailed(Exception):
    """The step failed. What its slots now hold is unknown: they must be cleared."""


class Backend(Protocol):
    context: int  # what one slot holds
    slots: int
    batch: int  # most tokens of one decode
    outputs: int  # most rows of logits of one decode; no fewer than slots
    drafts: int  # most tokens that a sequence may guess in a step; 0 where what was wrong could not be forgotten
    can_trim: bool  # False for recurrent and hybrid models: a slot can be grown or cleared, nothing else
    can_shift: bool
    reach: int  # the position at which looking back at the tokens before it costs a token as much as all the rest
    shares_cells: bool  # a copy shares memory cells with its source, so that shifting one would shift both

    def decode(self, chunks: Sequence[Chunk]) -> None:
        """Compute the chunks as one batch. Raises NoRoom or DecodeFailed."""
        ...

    def sampler(self, chain: Chain, recent: Sequence[int]) -> Any:
        """A sampler of its own state; `recent` are the prompt's last tokens, which the penalties must know."""
        ...

    def sample(self, sampler: Any, row: int, mask: Mask | None = None) -> int:
        """The next token from the row-th logits of the last decode, in the order of its chunks and their tokens, among
        those that the mask allows. Raises DecodeFailed."""
        ...

    def accept(self, sampler: Any, token: int) -> None:
        """Let the sampler know a token that it did not choose."""
        ...

    def logprob(self, row: int, token: int, *, top: int) -> Logprob:
        """Of a token by the row-th logits as the model gave them, with the `top` likeliest beside it."""
        ...

    def free(self, sampler: Any) -> None: ...

    def clear(self, slot: int) -> None: ...

    def trim(self, slot: int, position: int) -> bool:
        """Forget everything from `position` on; False if this memory cannot."""
        ...

    def copy(self, source: int, target: int, position: int) -> bool:
        """Make `target` hold what `source` holds before `position` and no more; False if it cannot and is empty."""
        ...

    def save(self, slot: int) -> Any:
        """What the slot's memory holds, to be kept elsewhere; the slot stays as it is."""
        ...

    def restore(self, slot: int, saved: Any) -> bool:
        """Make an empty slot hold again what `save` gave; False if there is no room, and the slot is empty."""
        ...

    def shift(self, slot: int, keep: int, discard: int, length: int) -> None:
        """Forget positions keep … keep + discard - 1 of a slot that holds `length`, and close the gap."""
        ...

    def piece(self, token: int) -> bytes:
        """Its text; control tokens have none."""
        ...

    def marker(self, text: str) -> int | None:
        """The one token that this text is, control tokens included; None if it is several."""
        ...

    def tokenizer(self) -> LLTokenizer:
        """What grammars are matched with; made with the first call."""
        ...

    def ends(self, token: int) -> bool:
        """Whether the token ends a generation."""
        ...
