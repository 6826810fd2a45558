"""The texts of an embedding, tokenised and made to fit. Pure. Source: the wire contract, section 7.1."""

from collections.abc import Sequence
from typing import Protocol

from apps.errors import Problem

TOO_LONG = "the input length exceeds the context length"
NO_ROOM = "input after truncation exceeds maximum context length"


class Tokenizer(Protocol):
    @property
    def n_ctx_train(self) -> int: ...

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]: ...


def tokens(vocabulary: Tokenizer, text: str, *, num_ctx: int, truncate: bool) -> tuple[list[int], int]:
    """The text with the vocabulary's own first and last tokens, and how many of its own were cut off its end.

    Raises Problem (400) for a text that is too long where that is not allowed.
    """
    limit = min(num_ctx, vocabulary.n_ctx_train or num_ctx)
    whole = vocabulary.tokenize(text, add_special=True, parse_special=True)
    if len(whole) <= limit:
        return whole, 0
    if not truncate:
        raise Problem("invalid", TOO_LONG)
    bare = vocabulary.tokenize(text, add_special=False, parse_special=True)
    room = limit - (len(whole) - len(bare))
    if room <= 0:
        raise Problem("invalid", NO_ROOM)
    start = _start(whole, bare)
    return [*whole[:start], *bare[:room], *whole[start + len(bare) :]], len(bare) - room


def _start(whole: Sequence[int], bare: Sequence[int]) -> int:
    """How many tokens the vocabulary put before the text."""
    starts = range(len(whole) - len(bare) + 1)
    return next((start for start in starts if whole[start : start + len(bare)] == bare), 0)
