"""The contract's checks of embeddings, with the real model (which generates) and a tiny one that only embeds."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests import bert_file
from tests.api.ollama.checks import check
from tests.api.ollama.conftest import MODEL
from tests.api.ollama.speaking import GREEDY, answer, chat, loaded
from tests.server import Server

EMB = "emb"
LONG = "the cat sat on a mat and " * 200


@pytest.fixture(scope="module")
def able(live: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The admin's client, beside the model `emb` of section 26."""
    data = bert_file.write(tmp_path_factory.mktemp("emb") / "emb.gguf").read_bytes()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert live.post(f"/api/blobs/{digest}", content=data).status_code == 201
    made = live.post("/api/create", json={"model": EMB, "files": {"emb.gguf": digest}})
    assert made.status_code == 200 and '"success"' in made.text, made.text
    yield live
    live.request("DELETE", "/api/delete", json={"model": EMB})


def embed(client: httpx.Client, **body: Any) -> dict[str, Any]:
    reply = client.post("/api/embed", json={"model": EMB, **body})
    assert reply.status_code == 200, reply.text
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    said: dict[str, Any] = reply.json()
    return said


def lengths(said: dict[str, Any]) -> list[float]:
    return [float(np.linalg.norm(vector)) for vector in said["embeddings"]]


def refused(client: httpx.Client, path: str, **body: Any) -> tuple[int, str]:
    reply = client.post(path, json={"model": EMB, **body})
    assert set(reply.json()) == {"error"}
    return reply.status_code, reply.json()["error"]


@check(59)
def test_a_text_has_one_vector_and_a_list_one_each_in_order(able: httpx.Client) -> None:
    one, other = embed(able, input="the cat sat"), embed(able, input="a dog ran")
    both = embed(able, input=["the cat sat", "a dog ran"])
    assert [len(said["embeddings"]) for said in (one, other, both)] == [1, 1, 2]
    assert np.allclose(both["embeddings"], [one["embeddings"][0], other["embeddings"][0]], atol=1e-3)
    assert not np.allclose(*both["embeddings"], atol=0.01)
    assert lengths(both) == pytest.approx([1, 1], abs=1e-3)
    assert both["prompt_eval_count"] == one["prompt_eval_count"] + other["prompt_eval_count"] == 10


@check(59)
def test_the_reply_is_one_object_with_counts_and_durations(able: httpx.Client) -> None:
    said = embed(able, input="the cat", stream=True)
    assert list(said) == ["model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"]
    assert said["model"] == EMB
    assert 0 < said["load_duration"] <= said["total_duration"]


@check(60)
@pytest.mark.parametrize("body", [{}, {"input": ""}, {"input": []}, {"input": None}])
def test_nothing_to_embed_loads_the_model(able: httpx.Client, body: dict[str, Any]) -> None:
    assert embed(able, **body) == {"model": EMB, "embeddings": []}
    assert loaded(able, f"{EMB}:latest")


def test_an_empty_text_in_a_list_is_a_text(able: httpx.Client) -> None:
    assert lengths(embed(able, input=[""])) == pytest.approx([1], abs=1e-3)
    assert lengths(embed(able, model=MODEL, input=["", "a"])) == pytest.approx([1, 1], abs=1e-3)


@check(61)
@pytest.mark.parametrize("value", [5, [1], {"a": 1}, ["a", None], [["a"]], True])
def test_what_is_no_text_is_refused(able: httpx.Client, value: Any) -> None:
    assert refused(able, "/api/embed", input=value) == (400, "invalid input type")


@check(62)
def test_a_text_that_is_too_long_is_cut_unless_that_is_refused(able: httpx.Client) -> None:
    said = embed(able, input=LONG)
    assert said["prompt_eval_count"] == bert_file.CONTEXT
    assert said["prompt_dropped_count"] > 1000
    words = LONG.split()[: bert_file.CONTEXT - 2]
    assert np.allclose(said["embeddings"], embed(able, input=" ".join(words))["embeddings"], atol=1e-3)
    error = (400, "the input length exceeds the context length")
    assert refused(able, "/api/embed", input=["fits", LONG], truncate=False) == error


@check(62)
def test_the_context_that_was_asked_for_is_the_limit(able: httpx.Client) -> None:
    assert embed(able, input=LONG, options={"num_ctx": 16})["prompt_eval_count"] == 16
    error = (400, "the input length exceeds the context length")
    assert refused(able, "/api/embed", input=LONG[:100], truncate=False, options={"num_ctx": 16}) == error


@check(63)
def test_dimensions_cut_the_vectors_and_make_them_of_length_one(able: httpx.Client) -> None:
    said = embed(able, input=["the cat", "a dog"], dimensions=8)
    assert [len(vector) for vector in said["embeddings"]] == [8, 8]
    assert lengths(said) == pytest.approx([1, 1], abs=1e-3)
    whole = np.asarray(embed(able, input=["the cat", "a dog"])["embeddings"])[:, :8]
    assert np.allclose(said["embeddings"], whole / np.linalg.norm(whole, axis=1, keepdims=True), atol=1e-3)
    assert len(embed(able, input="the cat", dimensions=4096)["embeddings"][0]) == bert_file.WIDTH


@check(64)
@pytest.mark.parametrize("path", ["/api/embed", "/api/embeddings"])
def test_an_unknown_model_is_told_with_a_hint(able: httpx.Client, path: str) -> None:
    error = (404, 'model "nope" not found, try pulling it first')
    assert refused(able, path, model="nope", input="x", prompt="x") == error


@check(65)
def test_the_older_endpoint_gives_one_vector_and_nothing_else(able: httpx.Client) -> None:
    said = answer(able, "/api/embeddings", {"model": EMB, "prompt": "the cat sat"})
    assert set(said) == {"embedding"}
    assert np.allclose(said["embedding"], embed(able, input="the cat sat")["embeddings"][0], atol=1e-3)
    assert answer(able, "/api/embeddings", {"model": EMB}) == {"embedding": []}
    assert answer(able, "/api/embeddings", {"model": EMB, "prompt": ""}) == {"embedding": []}


@check(66)
def test_a_model_that_generates_embeds_too(able: httpx.Client) -> None:
    texts = ["Why is the sky blue?", "Why is the grass green?", "def add(a, b): return a + b"]
    said = embed(able, model=MODEL, input=texts)
    assert lengths(said) == pytest.approx([1, 1, 1], abs=1e-3)
    sky, grass, code = map(np.asarray, said["embeddings"])
    assert sky @ grass > sky @ code
    assert answer(able, "/api/chat", chat(options=GREEDY))["message"]["content"], "it still talks"
    old = answer(able, "/api/embeddings", {"model": MODEL, "prompt": texts[0]})["embedding"]
    assert float(sky @ np.asarray(old)) == pytest.approx(1, abs=1e-3)


def test_the_stay_of_a_model_is_as_elsewhere(able: httpx.Client) -> None:
    embed(able, input="the cat", keep_alive="30m")
    assert loaded(able, f"{EMB}:latest")
    embed(able, input="the cat", keep_alive=0)
    assert not loaded(able, f"{EMB}:latest")
    embed(able, input="the cat", keep_alive="5m")


def test_a_thousand_texts_are_one_reply(able: httpx.Client) -> None:
    texts = [f"the cat {word}" for word in bert_file.WORDS] * 64
    said = embed(able, input=texts)
    assert len(said["embeddings"]) == len(texts) > 900
    assert np.allclose(
        said["embeddings"][: len(bert_file.WORDS)], said["embeddings"][-len(bert_file.WORDS) :], atol=1e-3
    )
    assert said["prompt_eval_count"] > 5 * 900


def test_every_embedding_has_a_row_of_usage(able: httpx.Client, server: Server) -> None:
    key = server.new_user("embedder")
    headers = {"Authorization": f"Bearer {key}"}
    said = able.post("/api/embed", json={"model": MODEL, "input": ["a b c", "d"]}, headers=headers).json()
    (row,) = able.get("/api/corral/usage", headers=headers).json()["usage"]
    assert (row["model"], row["runs"], row["prompt_tokens"]) == (MODEL, 1, said["prompt_eval_count"])
    assert row["output_tokens"] == 0


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
def test_a_model_that_only_embeds_is_asked_for_nothing_else(able: httpx.Client, path: str) -> None:
    verb = path.rpartition("/")[2]
    body = {"prompt": "x", "messages": [{"role": "user", "content": "x"}]}
    assert refused(able, path, **body) == (400, f'"{EMB}" does not support {verb}')


def test_weights_that_are_no_numbers_are_refused_in_the_contracts_words(able: httpx.Client, tmp_path: Path) -> None:
    data = bert_file.write(tmp_path / "spoilt.gguf", spoilt=True).read_bytes()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert able.post(f"/api/blobs/{digest}", content=data).status_code == 201
    assert able.post("/api/create", json={"model": "spoilt", "files": {"a.gguf": digest}}).status_code == 200
    error = "embedding contains NaN or Inf values"
    assert refused(able, "/api/embed", model="spoilt", input="the cat") == (400, error)
    assert refused(able, "/api/embeddings", model="spoilt", prompt="the cat") == (500, error)
    able.request("DELETE", "/api/delete", json={"model": "spoilt"})
