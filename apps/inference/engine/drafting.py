"""Prompt lookup decoding (Saxena, 2023): guess a sequence's next tokens from what it has said or read before.

A guess is computed in the step of the token before it, and each of its tokens is then sampled as if nobody had guessed:
as long as what is sampled is what was guessed, the next logits are there already. So the answers are those of the model
alone (the speculative decoding of Leviathan et al., 2023, with a guess that has no probabilities of its own). A wrong
guess costs the rows that were computed for it: a step takes those guesses that let it expect the most tokens a second
(costs.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from apps.inference.engine.backend import Tokens

Kind = Literal["agreed", "long", "short"]

NOTHING: Final[Tokens] = np.empty(0, dtype=np.int32)
ODDS: Final[dict[Kind, float]] = {"agreed": 0.9, "long": 0.7, "short": 0.5}  # before any came true; measured on texts
SUREST: Final = 0.98
WEIGHT: Final = 0.1  # of one guess in what is known of them all
LONG, SHORT = 3, 2  # so many last tokens are looked for


@dataclass(frozen=True)
class Guess:
    """Tokens that may come next. One that followed the last two times is `agreed`; the others have been seen once,
    behind a long or a short context."""

    kind: Kind
    tokens: Tokens


@dataclass
class Drafter:
    """One sequence's guesses, and how often each kind of them came true lately."""

    odds: dict[Kind, float] = field(default_factory=lambda: dict(ODDS))
    _guess: Guess | None = None

    def guess(self, tokens: Tokens, *, most: int) -> tuple[Tokens, list[float]]:
        """At most so many tokens to follow the given ones; for each, how likely it is that all up to it are right."""
        self._guess = guess = look_back(tokens, most=most) if most > 0 else None
        if guess is None:
            return NOTHING, []
        odds = min(self.odds[guess.kind], SUREST)
        return guess.tokens, [odds**place for place in range(1, 1 + len(guess.tokens))]

    def learn(self, told: Tokens) -> None:
        """What came instead of the guess, whether it was computed or not. Behind its first wrong token it says
        nothing."""
        guess, self._guess = self._guess, None
        if guess is None:
            return
        for guessed, token in zip(guess.tokens, told, strict=False):
            right = bool(guessed == token)
            self.odds[guess.kind] += WEIGHT * (right - self.odds[guess.kind])
            if not right:
                return


def choose(odds: Sequence[Sequence[float]], *, rows: int, most: int, cost: Callable[[int], float]) -> list[int]:
    """How many tokens of each guess to compute in a step that has `rows` anyway, and room for `most` more: those that
    let it expect the most tokens for its time, which is what so many rows cost. Each sequence's odds fall."""
    order = sorted(((chance, index) for index, chances in enumerate(odds) for chance in chances), reverse=True)
    expected, best, count = float(len(odds)), len(odds) / cost(rows), 0
    for more, (chance, _) in enumerate(order[:most], 1):
        expected += chance
        if expected / cost(rows + more) > best:
            best, count = expected / cost(rows + more), more
    lengths = [0] * len(odds)
    for _, index in order[:count]:
        lengths[index] += 1
    return lengths


def look_back(tokens: Tokens, *, most: int) -> Guess | None:
    """What followed the last time that the last tokens stood together, up to the next image. Where two times disagree,
    nothing is guessed."""
    for length in (LONG, SHORT):
        places = _places(tokens, length)
        if places.size:
            told = tokens[places[-1] : places[-1] + most]
            if places.size > 1:
                told = _up_to(told, told != tokens[places[-2] : places[-2] + len(told)])
            told = _up_to(told, told < 0)
            kind: Kind = "agreed" if places.size > 1 else "long" if length == LONG else "short"
            return Guess(kind, told) if told.size else None
    return None


def _up_to(tokens: Tokens, ends: NDArray[np.bool_]) -> Tokens:
    return tokens[: int(ends.argmax())] if ends.any() else tokens


def _places(tokens: Tokens, length: int) -> NDArray[np.intp]:
    """The places behind each earlier time that the last `length` tokens stood together, in order."""
    starts = len(tokens) - length
    if starts <= 0:
        return np.empty(0, dtype=np.intp)
    matches = tokens[:starts] == tokens[starts]
    for place in range(1, length):
        matches &= tokens[place : starts + place] == tokens[starts + place]
    places: NDArray[np.intp] = matches.nonzero()[0] + length
    return places
