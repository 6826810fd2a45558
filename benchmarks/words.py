"""Prompts of a wanted length that no earlier round has seen: nothing of one round is cached for the next."""

import itertools
import random

SUBJECTS = ("river", "harbour", "garden", "library", "market", "bridge", "station", "orchard", "valley", "theatre")
VERBS = ("remembers", "measures", "paints", "repairs", "follows", "describes", "collects", "opens", "watches")
THINGS = ("stones", "letters", "clocks", "boats", "maps", "lanterns", "voices", "seasons", "numbers", "machines")
_rounds = itertools.count()
WORDS_A_SENTENCE = 7.3  # tokens of the benchmark's model, measured


def prose(tokens: int, *, seed: int | None = None) -> str:
    """About `tokens` tokens of sentences, different at every call unless `seed` is given."""
    rng = random.Random(next(_rounds) * 7919 + 17 if seed is None else seed)
    count = int(tokens / WORDS_A_SENTENCE)
    return " ".join(_sentence(rng) for _ in range(count))


def _sentence(rng: random.Random) -> str:
    return f"The {rng.choice(SUBJECTS)} {rng.choice(VERBS)} {rng.randint(2, 99)} {rng.choice(THINGS)}."
