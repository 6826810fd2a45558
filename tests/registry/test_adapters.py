"""LoRA adapters: as GGUF and as PEFT's safetensors, and that they do what they should to the base's answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy
import pytest

from apps.accounts.models import User
from apps.errors import Problem
from apps.registry import blobs, manifest, resolve
from apps.registry.specs import CreateSpec
from tests.registry import reference
from tests.registry.checkpoints import HEADS, LAYERS, WIDTH, Checkpoint, decoder, safetensors
from tests.registry.conftest import People
from tests.registry.native import loaded
from tests.registry.test_quantizing import Files, Made, files

Upload = Callable[[bytes, User], str]
__all__ = ["files"]
RANK, ALPHA = 4, 8.0
TEXT = "hello world"


def changes(seed: int = 5) -> dict[str, Any]:
    """PEFT's tensors for every layer's queries and down projections."""
    numbers = numpy.random.default_rng(seed)
    found = {}
    for number in range(LAYERS):
        for part, (rows, columns) in {"self_attn.q_proj": (WIDTH, WIDTH), "mlp.down_proj": (WIDTH, 128)}.items():
            name = f"base_model.model.model.layers.{number}.{part}"
            found[f"{name}.lora_A.weight"] = numbers.standard_normal((RANK, columns)).astype(numpy.float32) * 0.2
            found[f"{name}.lora_B.weight"] = numbers.standard_normal((rows, RANK)).astype(numpy.float32) * 0.2
    return found


def merged(checkpoint: Checkpoint) -> dict[str, Any]:
    """The base's weights with the changes added to them."""
    weights, tensors = checkpoint.rounded(), changes()
    for name, second in tensors.items():
        if name.endswith("lora_B.weight"):
            first = tensors[name.replace("lora_B", "lora_A")]
            target = name.removeprefix("base_model.model.").replace("lora_B.weight", "weight")
            weights[target] = weights[target] + ALPHA / RANK * second @ first
    return weights


def lora(
    path: Path, *, kind: str = "adapter", type_: str = "lora", architecture: str = "llama", **shapes: Any
) -> bytes:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(kind)
    writer.add_string("adapter.type", type_)
    writer.add_float32("adapter.lora.alpha", ALPHA)
    shapes = shapes or {"blk.0.attn_q.weight.lora_a": (RANK, WIDTH), "blk.0.attn_q.weight.lora_b": (WIDTH, RANK)}
    for name, shape in shapes.items():
        writer.add_tensor(name, numpy.full(shape, 0.1, dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


@pytest.fixture
def base(files: Files, people: People) -> Checkpoint:
    checkpoint = decoder("LlamaForCausalLM")
    Made(people.alice, CreateSpec("base", files=files(checkpoint)))
    return checkpoint


def peft(upload: Upload, user: User, **config: Any) -> dict[str, str]:
    said = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, **config}
    return {
        "adapter_config.json": upload(json.dumps(said).encode(), user),
        "adapter_model.safetensors": upload(safetensors(changes()), user),
    }


def test_a_gguf_adapter_becomes_a_layer(base: Checkpoint, upload: Upload, people: People, tmp_path: Path) -> None:
    digest = upload(lora(tmp_path / "a.gguf"), people.alice)
    made = Made(people.alice, CreateSpec("m", from_="base", adapters={"a.gguf": digest}, system="s"))
    kinds = [layer.media_type for layer in made.model.manifest.document.layers]
    assert kinds == [manifest.WEIGHTS, manifest.ADAPTER, manifest.SYSTEM]
    assert made.statuses[0] == "parsing GGUF"
    assert resolve.version("m", people.alice).adapters == (digest,)
    with loaded(made.file) as model:
        before = model.logits(model.tokens(TEXT))
        model.apply(blobs.path(digest))
        assert numpy.abs(model.logits(model.tokens(TEXT)) - before).max() > 0.01


def test_a_converted_adapter_does_what_its_matrices_say(base: Checkpoint, upload: Upload, people: People) -> None:
    made = Made(people.alice, CreateSpec("m", from_="base", adapters=peft(upload, people.alice)))
    assert made.statuses[0] == "converting adapter"
    (digest,) = resolve.version("m", people.alice).adapters
    with loaded(made.file) as model:
        model.apply(blobs.path(digest))
        tokens = model.tokens(TEXT)
        found = model.logits(tokens)
    expected = reference.logits(base.config, merged(base), tokens)
    plain = reference.logits(base.config, base.rounded(), tokens)
    scale = float(numpy.abs(expected).max())
    assert numpy.abs(expected - plain).max() > 0.1 * scale
    numpy.testing.assert_allclose(found, expected, atol=0.02 * scale)


ONE = "blk.0.attn_q.weight.lora_a"
TWO = "blk.0.attn_q.weight.lora_b"


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"kind": "model"}, "is no adapter"),
        ({"type_": "ia3"}, "only lora is supported"),
        ({"architecture": "qwen2"}, "the adapter is for 'qwen2', the base model is 'llama'"),
        ({ONE: (RANK, WIDTH)}, "only one half"),
        ({ONE: (RANK, 2 * WIDTH), TWO: (WIDTH, RANK)}, "does not fit the base model's tensor"),
        ({ONE: (RANK, WIDTH), TWO: (WIDTH, 2 * RANK)}, "does not fit the base model's tensor"),
        ({"blk.9.attn_q.weight.lora_a": (RANK, WIDTH), "blk.9.attn_q.weight.lora_b": (WIDTH, RANK)}, "has no tensor"),
        ({"blk.0.attn_q.weight": (WIDTH, WIDTH)}, "is none that a LoRA has"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(
    how: dict[str, Any], why: str, base: Checkpoint, upload: Upload, people: People, tmp_path: Path
) -> None:
    digest = upload(lora(tmp_path / "a.gguf", **how), people.alice)
    with pytest.raises(Problem, match=why) as raised:
        Made(people.alice, CreateSpec("m", from_="base", adapters={"a.gguf": digest}))
    assert raised.value.status == 400


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
        ({"use_dora": True}, "use_dora cannot be converted"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern cannot be converted"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save cannot be converted"),
        ({"r": 0}, "r must be a whole number"),
    ],
)
def test_a_peft_adapter_of_another_kind_is_refused(
    config: dict[str, Any], why: str, base: Checkpoint, upload: Upload, people: People
) -> None:
    with pytest.raises(Problem, match=why):
        Made(people.alice, CreateSpec("m", from_="base", adapters=peft(upload, people.alice, **config)))


def test_the_heads_are_the_bases(base: Checkpoint) -> None:
    assert HEADS * 16 == WIDTH, "the adapter of this file is written for these heads"
