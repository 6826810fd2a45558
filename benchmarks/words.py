"""Prompts of a wanted length that no earlier one begins like: nothing of one is cached for the next.

llama-server keeps what it computed of all prompts, and of a new one computes only what none of them began with. While
these texts all began with "The" and one of ten words, it had two to four tokens of 44 less to compute than Corral,
which shares nothing between users but what is public.
"""

import random

SUBJECTS = ("river", "harbour", "garden", "library", "market", "bridge", "station", "orchard", "valley", "theatre")
VERBS = ("remembers", "measures", "paints", "repairs", "follows", "describes", "collects", "opens", "watches")
THINGS = ("stones", "letters", "clocks", "boats", "maps", "lanterns", "voices", "seasons", "numbers", "machines")
SYLLABLES = tuple(consonant + vowel for vowel in "aoeiu" for consonant in "bdfgklmnprstvz")
TOKENS_A_SENTENCE = 8.1  # of the benchmark's model, measured


class Texts:
    """Texts by their number, from `number` on: two of these say the same to two peers."""

    def __init__(self, number: int = 0) -> None:
        self.number = number

    def prose(self, tokens: int) -> str:
        """About `tokens` tokens of sentences."""
        rng = random.Random(self.number * 7919 + 17)
        others = (f"The {rng.choice(SUBJECTS)}" for _ in range(1, int(tokens / TOKENS_A_SENTENCE)))
        subjects = [_name(self.number), *others]
        self.number += 1
        return " ".join(f"{each} {rng.choice(VERBS)} {rng.randint(2, 99)} {rng.choice(THINGS)}." for each in subjects)


def _name(number: int) -> str:
    """A name whose first syllable comes back after 70 others, and then goes on differently."""
    first, second = number % len(SYLLABLES), number // len(SYLLABLES) + number
    return (SYLLABLES[first] + SYLLABLES[second % len(SYLLABLES)]).capitalize()
