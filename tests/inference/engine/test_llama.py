"""The real model behind the backend's contract."""

import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from apps.inference.engine import llama, sampling
from apps.inference.engine.backend import Chunk
from apps.inference.engine.grammar import Grammar
from apps.inference.engine.loading import Load
from apps.inference.engine.matching import Constraint, constrain
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


def test_reach_is_counted_from_the_weights_that_a_token_meets(model: llama.Llama) -> None:
    """24 layers of 896 columns and 358 million weights beside the vocabulary's; see docs/benchmarks.md."""
    assert model.reach == pytest.approx(358e6 / (4 * 24 * 896), rel=0.01)


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


PEOPLE = {
    "type": "array",
    "minItems": 2,
    "maxItems": 2,
    "items": {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "maximum": 99}},
        "required": ["name", "age"],
        "additionalProperties": False,
    },
}
ASK = "<|im_start|>user\nTwo people as JSON, with name and age.<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    "drawn",
    [
        GREEDY,
        Sampling(seed=1, temperature=1.0),
        Sampling(seed=2, temperature=1.8, top_k=0, top_p=1.0),
        Sampling(temperature=0, repeat_penalty=1.3),
        Sampling(seed=3, temperature=1.2, repeat_penalty=1.4, top_k=200),
    ],
)
def test_the_model_keeps_to_a_schema_however_it_draws(drawn: Sampling, model: llama.Llama, bench: Bench) -> None:
    said = bench.run("a", tokens(model, ASK), sampling=drawn, grammar=Grammar("schema", PEOPLE), num_predict=120)
    jsonschema.validate(json.loads(said), PEOPLE)
    assert bench.ends["a"].reason == "stop"


def test_json_mode_gives_an_object(model: llama.Llama, bench: Bench) -> None:
    question = tokens(model, "<|im_start|>user\nOne person as JSON.<|im_end|>\n<|im_start|>assistant\n")
    said = bench.run("a", question, sampling=GREEDY, grammar=Grammar("json"), num_predict=120)
    assert isinstance(json.loads(said), dict) and bench.ends["a"].reason == "stop"


def test_a_call_of_a_tool_is_held_to_its_parameters(model: llama.Llama, bench: Bench) -> None:
    parameters = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"]}
    tool = {"type": "function", "function": {"name": "weather", "parameters": parameters}}
    question = tokens(model, "<|im_start|>user\nWeather in Rome?<|im_end|>\n<|im_start|>assistant\n")
    grammar = Grammar("tools", tools=(tool,), choice="required")
    said = json.loads(bench.run("a", question, sampling=GREEDY, grammar=grammar, num_predict=80))
    calls = said if isinstance(said, list) else [said]
    assert {call["name"] for call in calls} == {"weather"}
    assert {call["arguments"]["city"] for call in calls} <= {"Paris", "Rome"}


def test_a_mask_lets_only_what_it_allows_be_drawn(model: llama.Llama) -> None:
    model.clear(0)
    model.decode([Chunk(0, 0, np.asarray(tokens(model, QUESTIONS[1]), dtype=np.int32), True)])
    size = model._size
    drawn = (GREEDY, Sampling(seed=1), Sampling(seed=1, top_k=0, temperature=2.0), Sampling(seed=1, repeat_penalty=1.5))
    for allowed in ([5, 17, 300], list(range(0, size, 7)), [size - 1]):
        mask = np.zeros(4 * (-(-size // 32)), dtype=np.uint8)
        mask[:] = np.packbits(np.isin(np.arange(8 * mask.size), allowed), bitorder="little")
        for one in drawn:
            sampler = model.sampler(sampling.describe(one, context=512), [5, 6, 7])
            assert {model.sample(sampler, 0, mask) for _ in range(5)} <= set(allowed)
            model.free(sampler)
    assert model.sample(model.sampler(sampling.describe(GREEDY, context=512), []), 0, mask) == size - 1


def test_under_a_mask_that_allows_all_the_same_is_drawn(model: llama.Llama) -> None:
    model.clear(0)
    question = tokens(model, QUESTIONS[1])
    model.decode([Chunk(0, 0, np.asarray(question, dtype=np.int32), True)])
    mask = np.full(4 * (-(-model._size // 32)), 255, dtype=np.uint8)
    for one in (GREEDY, Sampling(seed=4, temperature=1.5), Sampling(temperature=0, repeat_penalty=1.2)):
        chain = sampling.describe(one, context=512)
        free, masked = (model.sampler(chain, question) for _ in range(2))
        assert [model.sample(free, 0) for _ in range(8)] == [model.sample(masked, 0, mask) for _ in range(8)]
        model.free(free)
        model.free(masked)


def test_the_vocabularys_own_ends_are_where_a_grammar_may_stop(model: llama.Llama) -> None:
    ends = [token for token in range(model._size) if model.ends(token)]
    constraint = constrain(Grammar("schema", {"type": "integer"}), model.tokenizer())
    assert len(ends) > 3 and model.tokenizer() is model.tokenizer()
    assert not any(_allows(constraint, token) for token in ends)
    (digit,) = model.tokenise("7", beginning=False)
    constraint.take(int(digit), b"7")
    assert all(_allows(constraint, token) for token in ends)


def _allows(constraint: Constraint, token: int) -> bool:
    mask = constraint.mask()
    assert mask is not None
    return bool(mask[token >> 3] >> (token & 7) & 1)


def test_logprobs_are_what_llama_cpp_says_too(model: llama.Llama, bench: Bench, peer: Any) -> None:
    bench.run("a", tokens(model, QUESTIONS[1]), sampling=GREEDY, logprobs=3, num_predict=4)
    peer.reset()
    peer.eval(peer.tokenize(QUESTIONS[1].encode()))
    row = np.asarray(peer._ctx.get_logits_ith(-1)[: model._size], dtype=np.float64)
    expected = row - row.max() - np.log(np.exp(row - row.max()).sum())
    first = bench.logprobs["a"][0]
    assert len(bench.logprobs["a"]) == 4 and first.token == model.piece(int(row.argmax()))
    assert first.logprob == pytest.approx(float(expected.max()), abs=0.05)
    assert [one.logprob for one in first.top] == pytest.approx(sorted(expected, reverse=True)[:3], abs=0.2)
    assert first.top[0].token == first.token and len(first.top) == 3


def test_a_marker_is_one_token_or_none(model: llama.Llama) -> None:
    marker = model.marker("<|im_end|>")
    assert marker is not None and model.ends(marker) and model.piece(marker) == b""
    assert model.marker("two words") is None


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


@pytest.mark.parametrize(("asked", "used"), [(1, 1), (0, None), (-1, None), (4096, None)])
def test_a_model_gets_no_more_threads_than_there_are_processors(asked: int, used: int | None) -> None:
    load = Load(file=-1, context=64, threads=asked)
    assert llama.threads(load) == (used or len(os.sched_getaffinity(0)))
