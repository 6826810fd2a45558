"""What a sampler chain is made of. Pure: the backend builds it.

The order is llama.cpp's and Ollama's: penalties, top-k, typical-p, top-p, min-p, temperature, then the draw.
A step that would change nothing is left out.
"""

import secrets
from dataclasses import dataclass

from apps.inference.types import Sampling

SEED_BITS = 32


@dataclass(frozen=True)
class Penalties:
    """Over the last `last_n` tokens of prompt and output together."""

    last_n: int
    repeat: float
    frequency: float
    presence: float


@dataclass(frozen=True)
class Chain:
    """None and 0 mean that the step is left out. `seed` is None where nothing is drawn: the likeliest token wins."""

    seed: int | None
    penalties: Penalties | None = None
    top_k: int = 0
    typical_p: float | None = None
    top_p: float | None = None
    min_p: float | None = None
    temperature: float | None = None


def describe(sampling: Sampling, *, context: int) -> Chain:
    """The chain of one sequence in a context of `context` tokens. A negative seed becomes a random one here."""
    penalties = _penalties(sampling, context=context)
    if sampling.temperature <= 0:
        return Chain(seed=None, penalties=penalties)
    return Chain(
        seed=_seed(sampling.seed),
        penalties=penalties,
        top_k=max(sampling.top_k, 0),
        typical_p=sampling.typical_p if sampling.typical_p < 1 else None,
        top_p=sampling.top_p if sampling.top_p < 1 else None,
        min_p=sampling.min_p if sampling.min_p > 0 else None,
        temperature=sampling.temperature if sampling.temperature != 1 else None,
    )


def _penalties(sampling: Sampling, *, context: int) -> Penalties | None:
    last_n = context if sampling.repeat_last_n < 0 else min(sampling.repeat_last_n, context)
    idle = sampling.repeat_penalty == 1 and sampling.frequency_penalty == 0 and sampling.presence_penalty == 0
    if idle or last_n == 0 or sampling.repeat_penalty <= 0:  # llama.cpp divides by the repeat penalty
        return None
    return Penalties(last_n, sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty)


def _seed(seed: int) -> int:
    # The all-ones seed makes llama.cpp draw one itself, which is what a random seed asks for anyway.
    return seed % (1 << SEED_BITS) if seed >= 0 else secrets.randbits(SEED_BITS)
