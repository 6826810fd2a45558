"""What a chain is made of."""

from apps.inference.engine.sampling import Chain, Penalties, describe
from apps.inference.types import Sampling


def test_the_defaults_need_three_steps_and_a_draw() -> None:
    assert describe(Sampling(seed=1), context=64) == Chain(seed=1, top_k=40, top_p=0.9, temperature=0.8)


def test_no_heat_draws_nothing_but_keeps_the_penalties() -> None:
    chain = describe(Sampling(temperature=0, repeat_penalty=1.1), context=64)
    assert chain == Chain(seed=None, penalties=Penalties(64, 1.1, 0, 0))


def test_penalties_look_back_over_the_whole_context_when_asked() -> None:
    assert describe(Sampling(repeat_last_n=-1, presence_penalty=1), context=64).penalties == Penalties(64, 1, 0, 1)
    assert describe(Sampling(repeat_last_n=0, presence_penalty=1), context=64).penalties is None


def test_a_negative_seed_is_another_one_every_time() -> None:
    seeds = {describe(Sampling(seed=-1), context=64).seed for _ in range(4)}
    assert len(seeds) == 4 and all(seed is not None and 0 <= seed < 2**32 for seed in seeds)


def test_a_seed_of_more_bits_is_folded() -> None:
    assert describe(Sampling(seed=2**40 + 5), context=64).seed == 5
