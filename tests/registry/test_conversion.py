"""Converted models compute what the published weights mean: logits and vectors against plain numpy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from apps.errors import Problem
from apps.registry import gguf
from tests.converting import convert
from tests.registry import reference
from tests.registry.checkpoints import WORDS, Checkpoint, decoder, encoder
from tests.registry.native import loaded

Convert = Callable[[Checkpoint], Path]
FAMILIES = ["LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "Gemma3ForCausalLM"]
TEXT = "hello world, hello 1234!"
LLAMA3_ROPE = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip


def refusal(checkpoint: Checkpoint, folder: Path) -> str:
    with pytest.raises(Problem) as raised:
        convert(checkpoint.save(folder / "model"), folder / "model.gguf")
    assert raised.value.status == 400
    return raised.value.message


@pytest.fixture
def converted(tmp_path: Path) -> Convert:
    def converted(checkpoint: Checkpoint, **how: Any) -> Path:
        convert(checkpoint.save(tmp_path / "model", **how), tmp_path / "model.gguf")
        return tmp_path / "model.gguf"

    return converted


def compare(checkpoint: Checkpoint, path: Path) -> None:
    """Every token's logits; the numbers are of the order of 1 to 10."""
    with loaded(path) as model:
        tokens = model.tokens(TEXT)
        found = model.logits(tokens)
        said = model.generate(TEXT, 4)
    expected = reference.logits(checkpoint.config, checkpoint.rounded(), tokens)
    assert len(tokens) >= 10
    assert numpy.abs(expected).max() > 1
    numpy.testing.assert_allclose(found, expected, atol=0.01 * float(numpy.abs(expected).max()))
    assert said[0] == expected[-1].argmax()
    assert len(said) == 4


@pytest.mark.parametrize("family", FAMILIES)
def test_a_converted_decoder_computes_what_the_weights_mean(family: str, converted: Convert) -> None:
    checkpoint = decoder(family)
    compare(checkpoint, converted(checkpoint))


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_is_kept(family: str, dtype: str, converted: Convert) -> None:
    checkpoint = decoder(family, dtype=dtype)
    path = converted(checkpoint)
    compare(checkpoint, path)
    found = gguf.read(path)
    types = {tensor.name: tensor.type for tensor in found.tensors}
    assert (types["token_embd.weight"], types["output_norm.weight"], found.file_type) == (dtype, "F32", dtype)


def test_shards_and_tied_embeddings_are_put_together(converted: Callable[..., Path]) -> None:
    checkpoint = decoder("LlamaForCausalLM", tied=True)
    path = converted(checkpoint, shards=3)
    assert "output.weight" not in {tensor.name for tensor in gguf.read(path).tensors}
    compare(checkpoint, path)


@pytest.mark.parametrize(
    ("family", "config"),
    [
        ("LlamaForCausalLM", {"rope_scaling": LLAMA3_ROPE}),
        ("LlamaForCausalLM", {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
        ("Qwen2ForCausalLM", {"rope_theta": 1000000.0}),
    ],
)
def test_positions_are_turned_as_the_config_says(family: str, config: dict[str, Any], converted: Convert) -> None:
    checkpoint = decoder(family, **config)
    compare(checkpoint, converted(checkpoint))


# --- BERT -----------------------------------------------------------------------------------------------------------

WORDPIECE = {
    "model": {"type": "WordPiece", "vocab": {word: number for number, word in enumerate(WORDS)}, "unk_token": "[UNK]"},
    "added_tokens": [{"id": number, "content": WORDS[number], "special": True} for number in range(5)],
    "normalizer": {"type": "BertNormalizer", "lowercase": True, "strip_accents": None, "handle_chinese_chars": True},
}


def vector_of(path: Path, text: str) -> Any:
    with loaded(path, embedding=True) as model:
        return model.vector(model.tokens(text))


def test_a_bert_is_the_same_however_it_was_saved(tmp_path: Path) -> None:
    forms = {
        "lines": encoder(),
        "json": encoder(**{"tokenizer.json": WORDPIECE}),
        "headed": encoder(prefix="bert."),
    }
    for name, checkpoint in forms.items():
        convert(checkpoint.save(tmp_path / name), tmp_path / f"{name}.gguf")
    vectors = [vector_of(tmp_path / f"{name}.gguf", "Hello, playing world!") for name in forms]
    other = vector_of(tmp_path / "lines.gguf", "hell")
    assert min(float(vectors[0] @ vector) for vector in vectors) > 0.99999
    assert float(vectors[0] @ other) < 0.99


def test_words_are_cut_as_the_vocabulary_was_trained(converted: Convert) -> None:
    with loaded(converted(encoder()), embedding=True) as model:
        pieces = [WORDS[token] for token in model.tokens("H\u00e9llo, PLAYING zzz!")]
    assert pieces == ["[CLS]", "hello", ",", "play", "##ing", "[UNK]", "!", "[SEP]"]


def test_a_cased_bert_keeps_its_letters(tmp_path: Path) -> None:
    files = {"vocab.txt": "\n".join([*WORDS, "Hello"]), "tokenizer_config.json": {"do_lower_case": False}}
    convert(encoder(**files).save(tmp_path / "cased"), tmp_path / "cased.gguf")
    with loaded(tmp_path / "cased.gguf", embedding=True) as model:
        assert model.tokens("Hello hello", begin=False) == [len(WORDS), 5]


@pytest.mark.parametrize(
    ("mode", "kind"), [("pooling_mode_mean_tokens", 1), ("pooling_mode_cls_token", 2), ("pooling_mode_lasttoken", 3)]
)
def test_pooling_is_what_sentence_transformers_says(mode: str, kind: int, converted: Convert) -> None:
    files = {
        "vocab.txt": "\n".join(WORDS),
        "modules.json": [{"path": ""}, {"path": "7_Pooling"}],
        "7_Pooling/config.json": {"word_embedding_dimension": 64, mode: True},
    }
    assert gguf.read(converted(encoder(**files))).metadata["bert.pooling_type"] == kind


def test_an_unknown_pooling_is_refused(tmp_path: Path) -> None:
    files = {"vocab.txt": "\n".join(WORDS), "1_Pooling/config.json": {"pooling_mode_max_tokens": True}}
    assert "pooling that cannot be converted" in refusal(encoder(**files), tmp_path)


# --- what cannot be converted ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"architectures": ["MambaForCausalLM"]}, "unsupported architecture MambaForCausalLM; these can be"),
        ({"architectures": []}, "unsupported architecture config.json does not say one"),
        ({"architectures": "LlamaForCausalLM"}, "architectures must be a list of texts"),
        ({"hidden_size": 10**9}, "hidden_size must be a whole number from 1 to 262144"),
        ({"hidden_size": "64"}, "hidden_size must be a whole number"),
        ({"hidden_size": 128}, "tensor 'model.embed_tokens.weight' has the shape [320, 64]; [320, 128] was expected"),
        ({"num_hidden_layers": 3}, "tensor 'model.layers.2.self_attn.q_proj.weight' is missing"),
        ({"num_hidden_layers": 1}, "tensor 'model.layers.1.input_layernorm.weight' is none that this architecture has"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers must be a whole number from 1 to 1024"),
        ({"num_key_value_heads": 3}, "the heads do not divide evenly"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ({"rope_theta": -1}, "rope_theta must be above 0"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope scaling 'dynamic' cannot be converted"),
        ({"rope_scaling": {**LLAMA3_ROPE, "high_freq_factor": 1.0}}, "high_freq_factor must be above"),
        ({"rope_scaling": 7}, "rope_scaling must be an object"),
        ({"vocab_size": 100}, "tensor 'model.embed_tokens.weight' has the shape"),
    ],
)
def test_a_config_that_cannot_be_followed_is_refused(config: dict[str, Any], why: str, tmp_path: Path) -> None:
    checkpoint = decoder("LlamaForCausalLM")
    checkpoint.config |= config
    assert why in refusal(checkpoint, tmp_path)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"layer_types": ["full_attention", "sliding_attention"]}, "full attention in every 6th layer"),
        ({"sliding_window_pattern": 4}, "sliding_window_pattern must be 6"),
        ({"query_pre_attn_scalar": 256}, "query_pre_attn_scalar must be 16"),
        ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping cannot be converted"),
    ],
)
def test_a_gemma_that_llama_cpp_would_misread_is_refused(config: dict[str, Any], why: str, tmp_path: Path) -> None:
    assert why in refusal(decoder("Gemma3ForCausalLM", **config), tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    files = decoder("LlamaForCausalLM").save(tmp_path / "model", shards=3)
    del files["model-00002-of-00003.safetensors"]
    with pytest.raises(Problem, match=r"model-00002-of-00003\.safetensors is missing"):
        convert(files, tmp_path / "model.gguf")


def test_a_tensor_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    files = decoder("LlamaForCausalLM").save(tmp_path / "model")
    with pytest.raises(Problem, match="is there twice"):
        convert({**files, "again.safetensors": files["model.safetensors"]}, tmp_path / "model.gguf")


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    checkpoint = decoder("LlamaForCausalLM")
    checkpoint.weights["model.norm.weight"] = numpy.ones(64, dtype=numpy.int64)
    assert "is of type I64; F16, BF16 and F32 can be converted" in refusal(checkpoint, tmp_path)


# --- size -------------------------------------------------------------------------------------------------------------


def test_a_model_larger_than_the_memory_is_converted(tmp_path: Path) -> None:
    """Three matrices of 128 MB (holes, on the disk) with 256 MB of memory for everything."""
    rows, checkpoint = 1_000_000, decoder("Qwen2ForCausalLM", dtype="F16", intermediate_size=1_000_000, tied=True)
    checkpoint.config["num_hidden_layers"] = 1
    kept = {
        name: array for name, array in checkpoint.weights.items() if "layers.1." not in name and ".mlp." not in name
    }
    checkpoint.weights = kept
    files = checkpoint.save(tmp_path / "model")
    shapes = {"gate_proj": [rows, 64], "up_proj": [rows, 64], "down_proj": [64, rows]}
    header = {
        f"model.layers.0.mlp.{part}.weight": {
            "dtype": "F16", "shape": shape, "data_offsets": [rows * 128 * number, rows * 128 * (number + 1)],
        }
        for number, (part, shape) in enumerate(shapes.items())
    }  # fmt: skip
    head = json.dumps(header).encode()
    with (tmp_path / "large.safetensors").open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        file.truncate(8 + len(head) + rows * 128 * 3)
    files["large.safetensors"] = tmp_path / "large.safetensors"
    assert convert(files, tmp_path / "model.gguf", memory_bytes=256 * 2**20) == {"file_type": "F16"}
    assert gguf.read(tmp_path / "model.gguf").tensor_bytes > 3 * rows * 128
