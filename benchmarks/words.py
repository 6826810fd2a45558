"""Prompts of a wanted length that no earlier one begins like: nothing of one is cached for the next.

llama-server keeps what it computed of all prompts, and of a new one computes only what none of them began with. While
these texts all began with "The" and one of ten words, it had two to four tokens of 44 less to compute than Corral,
which shares nothing between users but what is public.
"""

import itertools
import random

SUBJECTS = ("river", "harbour", "garden", "library", "market", "bridge", "station", "orchard", "valley", "theatre")
VERBS = ("remembers", "measures", "paints", "repairs", "follows", "describes", "collects", "opens", "watches")
THINGS = ("stones", "letters", "clocks", "boats", "maps", "lanterns", "voices", "seasons", "numbers", "machines")
SYLLABLES = tuple(consonant + vowel for vowel in "aoeiu" for consonant in "bdfgklmnprstvz")
TOKENS_A_SENTENCE = 8.1  # of the benchmark's model, measured
_texts = itertools.count()


def prose(tokens: int) -> str:
    """About `tokens` tokens of sentences, different at every call from the first word on."""
    number = next(_texts)
    rng = random.Random(number * 7919 + 17)
    subjects = [_name(number), *(f"The {rng.choice(SUBJECTS)}" for _ in range(1, int(tokens / TOKENS_A_SENTENCE)))]
    return " ".join(f"{each} {rng.choice(VERBS)} {rng.randint(2, 99)} {rng.choice(THINGS)}." for each in subjects)


def _name(number: int) -> str:
    """A name whose first syllable comes back after 70 others, and then goes on differently."""
    first, second = number % len(SYLLABLES), number // len(SYLLABLES) + number
    return (SYLLABLES[first] + SYLLABLES[second % len(SYLLABLES)]).capitalize()
