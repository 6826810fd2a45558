"""Where a text may be cut so that its pieces tokenise as the whole does. Pure.

llama.cpp first takes the special tokens out of a text, the longest first, and then tokenises each stretch between them
by itself. Behind a special token, then, a text may be cut, if no other one can overlap with it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

_LONGEST, _MOST = 64, 20_000  # characters of a marker, and others beside it: with more it is not worth looking


@dataclass(frozen=True)
class Seam:
    """A marker behind which texts are cut, and the one token that it is."""

    text: str
    token: int

    def cut(self, text: str) -> list[str]:
        """The pieces, none of them empty: all end with the marker, but for the last where the text does not."""
        *whole, rest = text.split(self.text)
        return [piece + self.text for piece in whole] + ([rest] if rest else [])

    def split(self, tokens: Sequence[int]) -> list[Sequence[int]]:
        """The tokens of such pieces, tokenised together, piece by piece."""
        ends = [place + 1 for place, token in enumerate(tokens) if token == self.token]
        if not ends or ends[-1] < len(tokens):
            ends.append(len(tokens))
        return [tokens[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def stands_alone(marker: str, others: Collection[str]) -> bool:
    """Whether no occurrence of the marker can overlap with one of the others, or with another of itself."""
    if not 0 < len(marker) <= _LONGEST or len(others) > _MOST or _meet(marker, marker):
        return False
    return not any(marker in other or other in marker or _meet(marker, other) for other in others if other)


def _meet(one: str, other: str) -> bool:
    """Whether one may begin with what the other ends with."""
    lengths = range(1, min(len(one), len(other)))
    return any(one[-length:] == other[:length] or other[-length:] == one[:length] for length in lengths)
