"""Prompts of a wanted length that no earlier one begins like: nothing of one is cached for the next.

llama-server keeps what it computed of all prompts, and of a new one computes only what none of them began with. One
token less counts: a CPU computes tokens by fours, and four take longer than all else that a request does. So each
text begins with another token of the vocabulary.
"""

import random
import re
from collections.abc import Sequence

from apps.inference.engine.vocabulary import Vocabulary

SUBJECTS = ("river", "harbour", "garden", "library", "market", "bridge", "station", "orchard", "valley", "theatre")
VERBS = ("remembers", "measures", "paints", "repairs", "follows", "describes", "collects", "opens", "watches")
THINGS = ("stones", "letters", "clocks", "boats", "maps", "lanterns", "voices", "seasons", "numbers", "machines")
TOKENS_A_SENTENCE = 8.1  # of the benchmark's model, measured
_WORD = re.compile(r"[A-Za-z][a-z]{2,}")


class Texts:
    """Texts by their number, from `number` on: two of these say the same to two peers. There are as many as openings,
    each of which is one token."""

    def __init__(self, openings: Sequence[str], number: int = 0) -> None:
        self._openings = openings
        self.number = number

    def again(self) -> "Texts":
        """The same texts from here on, for another peer."""
        return Texts(self._openings, self.number)

    def prose(self, tokens: int) -> str:
        """About `tokens` tokens of sentences."""
        if self.number >= len(self._openings):
            raise RuntimeError(f"{len(self._openings)} texts are all that begin differently; ask for fewer rounds")
        rng = random.Random(self.number * 7919 + 17)
        others = (f"The {rng.choice(SUBJECTS)}" for _ in range(1, int(tokens / TOKENS_A_SENTENCE)))
        subjects = [self._openings[self.number], *others]
        self.number += 1
        return " ".join(f"{each} {rng.choice(VERBS)} {rng.randint(2, 99)} {rng.choice(THINGS)}." for each in subjects)


def openings(vocabulary: Vocabulary) -> list[str]:
    """The words that are one token where a text begins with them, in the order of their tokens."""
    words = ((token, vocabulary.text(token)) for token in range(vocabulary.size))
    return [word for token, word in words if _WORD.fullmatch(word) and _begins(vocabulary, word, token)]


def _begins(vocabulary: Vocabulary, word: str, token: int) -> bool:
    return vocabulary.tokenize(f"{word} opens", add_special=False, parse_special=False)[0] == token
