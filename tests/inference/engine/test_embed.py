"""Vectors of the real model and of a tiny BERT: what a batch may not change, and what is done to them afterwards."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf.constants import PoolingType

from apps.errors import Problem
from apps.inference.engine import embed, llama
from apps.inference.engine.backend import Chunk, Tokens
from apps.inference.engine.embed import Embedder, Vector, normalised
from apps.inference.engine.loading import Load
from apps.inference.engine.vocabulary import Vocabulary
from tests import bert_file

TEXTS = (
    "The cat sat on the mat.",
    "A dog ran up the hill, and the sky was blue.",
    "def fibonacci(n):\n    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)",
)
SOME_WORDS = ("the cat sat on a mat", "a dog ran", "the sky is blue")

OpenBert = Callable[..., Embedder]


@pytest.fixture(scope="module")
def qwen(model: llama.Llama) -> Iterator[Embedder]:
    """Beside the starter model's generation context: batches of 32 tokens."""
    embedder = embed.beside(model, Load(-1, context=512, threads=2), batch=32)
    yield embedder
    embedder.close()


@pytest.fixture
def open_bert(tmp_path: Path) -> Iterator[OpenBert]:
    opened: list[Embedder] = []

    def make(*, batch: int = 64, **file: Any) -> Embedder:
        path = bert_file.write(tmp_path / f"bert-{len(opened)}.gguf", **file)
        load = Load(os.open(path, os.O_RDONLY), context=512, batch=batch, threads=1)
        opened.append(embed.alone(embed.Model(load, progress=lambda fraction: None), load))
        return opened[-1]

    yield make
    for embedder in opened:
        embedder.close()


def words(text: str) -> Tokens:
    """Every word of these is a token of the tiny BERT's."""
    known = bert_file.tokens()
    return np.asarray([2, *(known.index(f"\u2581{word}") for word in text.split()), 3], dtype=np.int32)


def alone(embedder: Embedder, tokens: Tokens) -> Vector:
    """One text in as many batches as it takes."""
    if not embedder.takes(len(tokens)):
        embedder.prepare(len(tokens))
    for start in range(0, len(tokens), embedder.batch):
        part = tokens[start : start + embedder.batch]
        vectors = embedder.compute([Chunk(0, start, part, start + len(part) == len(tokens))])
    return vectors[0]


def together(embedder: Embedder, texts: Sequence[Tokens]) -> list[Vector]:
    if not embedder.takes(max(map(len, texts))):
        embedder.prepare(max(map(len, texts)))
    return embedder.compute([Chunk(slot, 0, tokens, True) for slot, tokens in enumerate(texts)])


def cosine(one: Vector, other: Vector) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


# --- a model that generates ------------------------------------------------------------------------------------------


def test_a_generative_models_vectors_are_those_of_llama_cpps_last_token(
    qwen: Embedder, model: llama.Llama, gguf_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from llama_cpp import LLAMA_POOLING_TYPE_LAST, Llama

        peer = Llama(str(gguf_path), n_ctx=512, embedding=True, pooling_type=LLAMA_POOLING_TYPE_LAST, verbose=False)
    try:
        for text in TEXTS:
            expected = np.asarray(peer.embed(text), dtype=np.float32)
            assert cosine(alone(qwen, model.tokenise(text)), expected) > 0.999
    finally:
        peer.close()


def test_a_long_text_in_many_batches_is_the_same_as_in_one(qwen: Embedder, model: llama.Llama) -> None:
    tokens = model.tokenise(" ".join(TEXTS) * 3)
    assert len(tokens) > 4 * qwen.batch
    whole = embed.beside(model, Load(-1, context=512, threads=2), batch=512)
    assert cosine(alone(qwen, tokens), alone(whole, tokens)) > 0.999
    whole.close()


def test_many_texts_in_a_batch_have_the_vectors_they_have_alone(qwen: Embedder, model: llama.Llama) -> None:
    texts = [model.tokenise(text)[:10] for text in TEXTS]
    for vector, tokens in zip(together(qwen, texts), texts, strict=True):
        assert cosine(vector, alone(qwen, tokens)) > 0.999
    assert cosine(*together(qwen, texts)[:2]) < 0.99


def test_a_text_that_is_dropped_half_way_leaves_nothing_behind(qwen: Embedder, model: llama.Llama) -> None:
    tokens = model.tokenise(TEXTS[0])
    before = alone(qwen, tokens)
    qwen.compute([Chunk(0, 0, model.tokenise(TEXTS[1])[:5], False)])
    qwen.forget(0)
    assert cosine(alone(qwen, tokens), before) > 0.9999


def test_embedding_changes_nothing_of_what_the_generation_context_holds(qwen: Embedder, model: llama.Llama) -> None:
    def likeliest() -> int:
        model.clear(0)
        model.decode([Chunk(0, 0, tokens[:4], False)])
        alone(qwen, tokens)
        model.decode([Chunk(0, 4, tokens[4:], True)])
        return int(model._rows[0].argmax())

    tokens = model.tokenise("The capital of France is")
    assert model.piece(likeliest()) == b" Paris"
    model.clear(0)


def test_a_model_without_a_beginning_embeds_the_empty_text_too(qwen: Embedder, model: llama.Llama) -> None:
    assert len(model.tokenise("")) == 0
    assert np.isfinite(alone(qwen, qwen.nothing)).all()


# --- a model that only embeds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", [PoolingType.MEAN, PoolingType.CLS])
def test_a_bert_needs_whole_texts_and_gives_each_its_own_vector(open_bert: OpenBert, pooling: PoolingType) -> None:
    bert = open_bert(pooling=pooling)
    assert bert.whole and bert.width == bert_file.WIDTH
    texts = [words(text) for text in SOME_WORDS]
    for vector, tokens in zip(together(bert, texts), texts, strict=True):
        assert cosine(vector, alone(bert, tokens)) > 0.99999
    first, second, third = together(bert, texts)
    assert max(cosine(first, second), cosine(second, third)) < 0.999


def test_the_pooling_is_the_files(open_bert: OpenBert) -> None:
    mean, first = (open_bert(pooling=pooling) for pooling in (PoolingType.MEAN, PoolingType.CLS))
    assert cosine(alone(mean, words("a dog ran")), alone(first, words("a dog ran"))) < 0.999


def test_a_bert_looks_both_ways(open_bert: OpenBert) -> None:
    bert = open_bert(pooling=PoolingType.CLS)
    assert cosine(alone(bert, words("the cat sat")), alone(bert, words("the cat ran"))) < 0.99999


def test_a_longer_text_makes_a_larger_batch(open_bert: OpenBert) -> None:
    bert = open_bert(batch=64)
    bert.batch, short = 8, words("a dog")
    bert.prepare(len(short))
    before, room = alone(bert, short), bert.batch
    assert bert.takes(room) and not bert.takes(room + 1)
    bert.prepare(room + 1)
    assert bert.batch > room
    assert cosine(alone(bert, short), before) > 0.99999


@pytest.mark.parametrize("batch", [1, 3, 100, 200])
def test_any_batch_that_is_asked_for_is_made_one_that_llama_cpp_survives(
    open_bert: OpenBert, model: llama.Llama, batch: int
) -> None:
    bert = open_bert(batch=batch)
    assert bert.batch >= batch and len(together(bert, [words(text) for text in SOME_WORDS])) == 3
    qwen = embed.beside(model, Load(-1, context=512, threads=2), batch=batch)
    assert qwen.batch <= batch and np.isfinite(alone(qwen, model.tokenise("a horse"))).all()
    qwen.close()


def test_a_ranking_model_is_refused_with_a_sentence(open_bert: OpenBert) -> None:
    with pytest.raises(Problem, match="ranks texts"):
        open_bert(pooling=PoolingType.RANK)


def test_weights_that_are_no_numbers_are_a_problem_of_the_contracts_words(open_bert: OpenBert) -> None:
    vector = alone(open_bert(spoilt=True), words("a dog"))
    with pytest.raises(Problem) as refused:
        normalised([vector], dimensions=0)
    assert (refused.value.status, refused.value.message) == (400, "embedding contains NaN or Inf values")


def test_the_tiny_bert_tokenises_by_its_own_words(tmp_path: Path) -> None:
    vocabulary = Vocabulary(str(bert_file.write(tmp_path / "bert.gguf")))
    for text in SOME_WORDS:
        assert vocabulary.tokenize(text, add_special=True, parse_special=True) == words(text).tolist()
    vocabulary.close()


# --- what is done to vectors -----------------------------------------------------------------------------------------


def vector(*numbers: float) -> Vector:
    return np.asarray(numbers, dtype=np.float32)


def test_vectors_are_made_of_length_one() -> None:
    assert normalised([vector(3, 4), vector(0, -2)], dimensions=0) == [[0.6, 0.8], [0.0, -1.0]]


@pytest.mark.parametrize("dimensions", [2, 5])
def test_dimensions_cut_where_there_are_more(dimensions: int) -> None:
    (numbers,) = normalised([vector(3, 4, 12)], dimensions=dimensions)
    assert len(numbers) == min(dimensions, 3)
    assert np.linalg.norm(numbers) == pytest.approx(1, abs=1e-8)


def test_a_vector_of_zeros_stays_what_it_is() -> None:
    assert normalised([vector(0, 0)], dimensions=0) == [[0.0, 0.0]]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_refused(number: float) -> None:
    with pytest.raises(Problem, match="NaN or Inf"):
        normalised([vector(1, 2), vector(1, number)], dimensions=1)


def test_no_vectors_are_none() -> None:
    assert normalised([], dimensions=3) == []
