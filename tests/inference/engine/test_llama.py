"""The real model behind the backend's contract."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.inference.engine import llama, sampling
from apps.inference.engine.backend import Chunk
from apps.inference.types import Sampling
from tests.inference.engine.conftest import Bench

QUESTIONS = ("def fibonacci(n):\n", "The capital of France is", "SELECT name FROM")
GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module")
def peer(gguf_path: Path) -> Iterator[Any]:
    """llama_cpp's own class, which decodes one sequence at a time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from llama_cpp import Llama

        peer = Llama(str(gguf_path), n_ctx=512, flash_attn=True, n_threads=2, n_threads_batch=2, verbose=False)
    yield peer
    peer.close()


@pytest.fixture
def bench(model: llama.Llama) -> Bench:
    for slot in range(model.slots):
        model.clear(slot)
    return Bench(model, step_tokens=64)


def tokens(model: llama.Llama, text: str) -> list[int]:
    return [int(token) for token in model.tokenise(text)]


@pytest.mark.parametrize("question", QUESTIONS)
def test_alone_and_greedy_it_says_what_llama_cpp_says(
    question: str, model: llama.Llama, bench: Bench, peer: Any
) -> None:
    said = peer(question, max_tokens=20, temperature=0.0, repeat_penalty=1.0)["choices"][0]["text"]
    assert bench.run("a", tokens(model, question), sampling=GREEDY, num_predict=20) == said


def test_reuse_of_a_prefix_changes_nothing(model: llama.Llama, bench: Bench) -> None:
    first, second = tokens(model, QUESTIONS[0] * 6), tokens(model, QUESTIONS[0] * 5 + "def fac(n):\n")
    alone = bench.run("alone", second, sampling=GREEDY, num_predict=12)
    for slot in range(model.slots):
        bench.engine._slots.clear(bench.engine._slots.all[slot])
    bench.submit("busy", first, key="k", sampling=GREEDY, num_predict=30)
    bench.steps(2)
    assert bench.run("copied", second, key="k", sampling=GREEDY, num_predict=12) == alone
    assert bench.ends["copied"].cached_tokens > 20
    bench.until("busy")


def test_one_seed_gives_one_text_and_another_seed_another(model: llama.Llama, bench: Bench) -> None:
    question = tokens(model, "Once upon a time")
    texts = []
    for number, seed in enumerate((7, 7, 8)):
        drawn = Sampling(seed=seed, temperature=1.0)
        texts.append(bench.run(str(number), question, key=f"of {number}", sampling=drawn, num_predict=16))
        for slot in bench.engine._slots.all:
            bench.engine._slots.clear(slot)
    assert texts[0] == texts[1] != texts[2]


def test_several_sequences_at_once_answer_their_own_question(model: llama.Llama, bench: Bench) -> None:
    for question in QUESTIONS:
        bench.submit(question, tokens(model, question), sampling=GREEDY, num_predict=8)
    bench.until(*QUESTIONS)
    assert "Paris" in bench.texts[QUESTIONS[1]]
    assert "if n" in bench.texts[QUESTIONS[0]]


def test_a_full_context_shifts_in_the_real_memory(model: llama.Llama, bench: Bench) -> None:
    bench.run("a", tokens(model, QUESTIONS[0]), context=48, sampling=GREEDY, num_predict=70)
    assert bench.ends["a"].output_tokens == 70 or bench.ends["a"].reason == "stop"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 1},
        {"top_k": 5, "top_p": 0.5, "min_p": 0.1},
        {"repeat_penalty": 1.3},
        {"repeat_penalty": 1.2, "frequency_penalty": -0.8, "presence_penalty": 0.4, "top_k": 20, "typical_p": 0.9},
        {"repeat_penalty": 1.3, "temperature": 0},
    ],
)
def test_picking_candidates_first_draws_what_the_whole_vocabulary_draws(
    options: dict[str, Any], model: llama.Llama
) -> None:
    question = tokens(model, QUESTIONS[0] * 3)
    model.clear(0)
    model.decode([Chunk(0, 0, np.asarray(question, dtype=np.int32), True)])
    chain = sampling.describe(Sampling(**{"seed": 3, **options}), context=512)
    picked, whole = (model.sampler(chain, question) for _ in range(2))
    whole.candidates = lambda row: None  # type: ignore[method-assign]
    for _ in range(12):
        assert model.sample(picked, 0) == model.sample(whole, 0)
    model.free(picked)
    model.free(whole)


def test_what_a_slot_holds_can_be_saved_and_brought_back(model: llama.Llama) -> None:
    tokens = model.tokenise("The capital of France is")
    chain = sampling.describe(Sampling(temperature=0), context=model.context)
    sampler = model.sampler(chain, ())
    model.clear(0)
    model.decode([Chunk(0, 0, tokens, True)])
    said = model.sample(sampler, 0)
    model.clear(0)
    model.decode([Chunk(0, 0, tokens[:-1], False)])
    saved = model.save(0)
    model.clear(0)
    assert model.restore(0, saved)
    model.decode([Chunk(0, len(tokens) - 1, tokens[-1:], True)])
    assert model.sample(sampler, 0) == said
    model.clear(0)
