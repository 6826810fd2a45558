"""How a prompt that is too long is made to fit its context. Pure. Source: the wire contract, section 19.4."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from apps.errors import Problem
from apps.inference.prompt.sandbox import TemplateError

_T = TypeVar("_T")
_LEAST_FREE = 4  # tokens of the context that num_keep may not claim
_SKIPS = 3
TOO_LONG = (
    "the prompt is longer than the context length currently available to the model; shorten the prompt, adjust the "
    "context length in settings, or use a model with a longer context length"
)


def refuse_if_over(tokens: int, *, num_ctx: int, truncate: bool, shift: bool) -> None:
    """Raises Problem (400) for a prompt that leaves no room for a reply and may not be shortened."""
    if tokens < num_ctx or (truncate and shift):
        return
    if truncate:
        raise Problem("invalid", TOO_LONG)
    raise Problem(
        "invalid", f"request ({tokens} tokens) exceeds the available context size ({num_ctx} tokens), try increasing it"
    )


def cut_middle(tokens: Sequence[int], *, num_ctx: int, num_keep: int) -> list[int]:
    """The first `num_keep` tokens and as many of the last as leave half of what remains of the context free."""
    if len(tokens) < num_ctx:
        return list(tokens)
    asked = len(tokens) if num_keep < 0 else num_keep
    kept = max(0, min(asked, num_ctx - _LEAST_FREE))
    tail = max(1, (num_ctx - kept) // 2)
    return [*tokens[:kept], *tokens[-tail:]]


class Search(Generic[_T]):
    """The longest end of a conversation that fits, found in O(log n) attempts.

    `attempt(start)` renders the conversation from a place on (TemplateError where the template will not begin
    there: many want a user first), `fits` judges the outcome.
    """

    def __init__(self, attempt: Callable[[int], _T], fits: Callable[[_T], bool], *, last: int) -> None:
        self._attempt, self._fits, self._last = attempt, fits, last
        self._tried: dict[int, _T | None] = {}

    def run(self) -> tuple[int, _T]:
        """The first place after 0 from which all fits, else the last one, and the outcome there."""
        found = bisect_left(range(1, self._last), True, key=self._fits_from) + 1
        for start in range(found, min(found + _SKIPS, self._last)):
            outcome = self._try(start)
            if outcome is not None and self._fits(outcome):
                return start, outcome
        return self._last, self._attempt(self._last)

    def _fits_from(self, start: int) -> bool:
        """Judged at the first of the next few places at which the template begins."""
        for place in range(start, min(start + _SKIPS, self._last)):
            outcome = self._try(place)
            if outcome is not None:
                return self._fits(outcome)
        return False

    def _try(self, start: int) -> _T | None:
        if start not in self._tried:
            self._tried[start] = self._outcome(start)
        return self._tried[start]

    def _outcome(self, start: int) -> _T | None:
        try:
            return self._attempt(start)
        except TemplateError:
            return None
