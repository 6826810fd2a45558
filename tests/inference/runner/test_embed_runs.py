"""Embedding runs in a real runner: beside a generation, and in a model that does nothing else."""

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.inference.types import EMBEDDINGS
from tests import bert_file
from tests.inference.runner.conftest import Event, Runner, Tokenise

STORY = "Tell me a very long story about a horse.\n"
_numbers = itertools.count(1)


def embed(runner: Runner, inputs: list[list[int]], **more: Any) -> str:
    """An embedding run with a log of its own; its id."""
    run = f"embed-{os.getpid()}-{next(_numbers)}"
    runner.log.create(run, owner=None, ttl=60)
    assert runner.log.claim(run, 1)
    runner.send({"do": "embed", "run": run, "log": run, "fence": 1, "inputs": inputs, "dimensions": 0, **more})
    return run


def vectors(runner: Runner, run: str) -> list[list[float]]:
    found = [entry for entry in runner.log.entries(run) if entry.kind == EMBEDDINGS]
    return [json.loads(text) for entry in found for text in entry.data["vectors"]]


def finish(runner: Runner, run: str) -> Event:
    end = runner.wait("ended", run, seconds=60)
    assert (end["reason"], end["error"], end["output_tokens"]) == ("stop", None, 0)
    return end


@pytest.fixture(scope="module")
def bert(services: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    runner = Runner()
    path = bert_file.write(tmp_path_factory.mktemp("bert") / "bert.gguf")
    runner.load(path, context=bert_file.CONTEXT, embedding=True)
    ready = runner.wait("ready", seconds=60)
    assert ready["memory"]["kv"] == 0
    assert (ready["slots"], ready["context"]) == (2, bert_file.CONTEXT)
    yield runner
    runner.close()


def test_a_generative_model_embeds(loaded: Runner, tokenise: Tokenise) -> None:
    inputs = [tokenise(text) for text in ("a horse", "a cow", "")]
    run = embed(loaded, inputs)
    end = finish(loaded, run)
    found = vectors(loaded, run)
    assert [round(float(np.linalg.norm(vector)), 6) for vector in found] == [1, 1, 1]
    assert end["prompt_tokens"] == len(inputs[0]) + len(inputs[1]) + 1 and end["prompt_ns"] > 0


def test_a_stream_goes_on_while_many_texts_are_embedded(loaded: Runner, tokenise: Tokenise) -> None:
    talk = loaded.start(tokenise("Once upon a time there was"), limits={"num_predict": 20})
    loaded.wait("started", talk)
    run = embed(loaded, [tokenise(STORY * 12)] * 12)
    assert loaded.wait("ended", talk, seconds=60)["output_tokens"] == 20
    assert len(loaded.text(talk)) > 20
    assert len(vectors(loaded, run)) < 12
    loaded.send({"do": "cancel", "run": run})
    assert loaded.wait("ended", run)["reason"] == "cancelled"


def test_a_cancel_beside_the_log_ends_it_between_two_batches(loaded: Runner, tokenise: Tokenise) -> None:
    run = embed(loaded, [tokenise(STORY * 12)] * 40)
    loaded.wait("started", run)
    loaded.log.cancel(run)
    end = loaded.wait("ended", run)
    assert end["reason"] == "cancelled" and len(vectors(loaded, run)) < 40


def test_dimensions_are_cut_in_the_runner(loaded: Runner, tokenise: Tokenise) -> None:
    run = embed(loaded, [tokenise("a horse")], dimensions=8)
    finish(loaded, run)
    (vector,) = vectors(loaded, run)
    assert len(vector) == 8 and np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_a_model_that_only_embeds_has_no_generation_context(bert: Runner) -> None:
    run = embed(bert, [[2, 5, 6, 3], [2, 3], [2, 5, 6, 3]])
    assert finish(bert, run)["prompt_tokens"] == 10
    first, second, third = vectors(bert, run)
    assert np.allclose(first, third, atol=1e-3) and not np.allclose(first, second, atol=0.01)
    assert len(first) == bert_file.WIDTH


def test_a_model_that_only_embeds_refuses_to_generate(bert: Runner) -> None:
    run = bert.start([2, 5, 3])
    assert bert.wait("ended", run)["error"]["message"] == "this model only embeds"


def test_no_texts_are_no_vectors(bert: Runner) -> None:
    run = embed(bert, [])
    finish(bert, run)
    assert vectors(bert, run) == []


def test_thousands_of_texts_come_in_order(bert: Runner) -> None:
    words = [[2, 5 + number % 40, 3] for number in range(2000)]
    run = embed(bert, words)
    assert finish(bert, run)["prompt_tokens"] == 6000
    found = np.asarray(vectors(bert, run))
    assert found.shape == (2000, bert_file.WIDTH)
    assert np.allclose(found[:40], found[1960:], atol=1e-3)
    assert not np.allclose(found[0], found[1], atol=0.01)


def test_numbers_that_are_none_are_refused_in_the_contracts_words(services: None, tmp_path: Path) -> None:
    runner = Runner()
    try:
        runner.load(bert_file.write(tmp_path / "bert.gguf", spoilt=True), context=64, embedding=True)
        error = runner.wait("ended", embed(runner, [[2, 5, 3]]), seconds=60)["error"]
        assert (error["code"], error["message"]) == ("invalid", "embedding contains NaN or Inf values")
    finally:
        runner.close()
