"""LoRA adapters on a tiny llama of random weights, through the whole load."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from apps.inference.engine import llama
from apps.inference.engine.backend import Chunk
from apps.inference.engine.grammar import Grammar
from apps.inference.engine.loading import Adapter, Load, LoadFailed
from apps.inference.engine.logprobs import Logprob
from apps.inference.types import Sampling
from tests.inference.engine.conftest import Bench
from tests.inference.engine.tiny import TOKENS, write_adapter, write_model

PROMPT = np.asarray([1, 70, 80, 90], dtype=np.int32)


def opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY)


def load(model: Path, *adapters: tuple[Path, float]) -> llama.Llama:
    llama.log_to(lambda level, text: None)
    loras = tuple(Adapter(opened(path), scale) for path, scale in adapters)
    return llama.Llama(Load(opened(model), context=64, adapters=loras, threads=1), progress=lambda fraction: None)


def logits(model: llama.Llama) -> NDArray[np.float32]:
    model.decode([Chunk(0, 0, PROMPT, True)])
    return model._rows[0].copy()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.gguf")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "adapter.gguf")


def test_an_adapter_changes_what_the_model_says(model: Path, adapter: Path) -> None:
    plain, adapted = logits(load(model)), logits(load(model, (adapter, 1.0)))
    assert plain.size == len(TOKENS) and np.abs(plain - adapted).max() > 0.1


def test_a_scale_of_zero_leaves_the_model_as_it_is(model: Path, adapter: Path) -> None:
    np.testing.assert_allclose(logits(load(model, (adapter, 0.0))), logits(load(model)), atol=1e-5)


def test_the_scale_is_how_much_of_it_there_is(model: Path, adapter: Path) -> None:
    half, whole = logits(load(model, (adapter, 0.5))), logits(load(model, (adapter, 1.0)))
    assert np.abs(half - whole).max() > 0.05


def test_two_adapters_are_both_heard(model: Path, adapter: Path, tmp_path: Path) -> None:
    other = write_adapter(tmp_path / "other.gguf", seed=3)
    both = logits(load(model, (adapter, 1.0), (other, 1.0)))
    assert all(np.abs(both - logits(load(model, (one, 1.0)))).max() > 0.05 for one in (adapter, other))


def test_an_adapter_made_for_another_model_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match="made for another model"):
        load(model, (write_adapter(tmp_path / "wide.gguf", width=64), 1.0))


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no gguf at all"])
def test_a_file_that_is_no_adapter_is_refused(model: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.gguf").write_bytes(content)
    with pytest.raises(LoadFailed, match="no LoRA in GGUF"):
        load(model, (tmp_path / "bad.gguf", 1.0))


def test_a_model_in_the_place_of_an_adapter_is_refused(model: Path) -> None:
    with pytest.raises(LoadFailed, match="no LoRA in GGUF"):
        load(model, (model, 1.0))


def test_an_adapter_of_another_kind_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(LoadFailed):
        load(model, (write_adapter(tmp_path / "kind.gguf", kind="control"), 1.0))


def test_the_adapters_files_are_closed(model: Path, adapter: Path) -> None:
    file = opened(adapter)
    llama.Llama(Load(opened(model), context=64, adapters=(Adapter(file),), threads=1), progress=lambda fraction: None)
    with pytest.raises(OSError):
        os.fstat(file)


def test_logprobs_are_of_the_adapted_model(model: Path, adapter: Path) -> None:
    adapted = load(model, (adapter, 1.0))
    row = logits(adapted).astype(np.float64)
    expected = row - np.log(np.exp(row).sum())
    said = adapted.logprob(0, 70, top=3)
    assert said.logprob == pytest.approx(expected[70], abs=1e-4)
    assert [one.logprob for one in said.top] == pytest.approx(sorted(expected, reverse=True)[:3], abs=1e-4)
    assert isinstance(said, Logprob) and said.token == bytes([67])


def test_a_vocabulary_of_pieces_keeps_to_a_schema_too(model: Path) -> None:
    """Another kind of vocabulary than the starter's, whose tokeniser writes a space before a text."""
    schema = {
        "type": "object",
        "properties": {"word": {"type": "string", "maxLength": 6}, "kind": {"enum": ["noun", "verb"]}},
        "required": ["word", "kind"],
    }
    bench = Bench(load(model))
    drawn = Sampling(seed=5, temperature=1.0)
    text = bench.run("a", PROMPT.tolist(), grammar=Grammar("schema", schema), sampling=drawn, num_predict=200)
    said = json.loads(text)
    assert said.keys() == {"word", "kind"} and said["kind"] in ("noun", "verb")
    assert bench.ends["a"].reason == "stop"
