"""Projectors of random weights for the llama of tiny.py, so small that a test can write one. What they see means
nothing: they prove how images travel, not that anybody sees."""

import io
from pathlib import Path

import gguf
import numpy as np
from PIL import Image

from tests.inference.engine.tiny import WIDTH

SIDE, PATCH, VIEW, INNER, HEADS, BLOCKS = 32, 8, 32, 64, 2, 2
ROWS = (SIDE // PATCH) ** 2  # of an image, whatever its size
CELL = 2 * PATCH  # pixels
BIG_SIDE = 128  # of the projector whose rows all see one another: it merges patches, four by four


def write_projector(path: Path, *, width: int = WIDTH, seed: int = 3) -> Path:
    """As LLaVA's: a CLIP tower and two layers behind it."""
    random = np.random.default_rng(seed)
    writer = _writer(path, "mlp", side=SIDE)
    writer.add_tensor("v.class_embd", _some(random, VIEW))
    _tower(writer, random, places=ROWS + 1)
    _norm(writer, "v.pre_ln")
    writer.add_tensor("mm.0.weight", _some(random, width, VIEW))
    writer.add_tensor("mm.0.bias", _some(random, width))
    writer.add_tensor("mm.2.weight", _some(random, width, width))
    writer.add_tensor("mm.2.bias", _some(random, width))
    return _close(writer)


def write_looking_both_ways(path: Path, *, width: int = WIDTH, seed: int = 4) -> Path:
    """As Gemma 3's: the rows of an image see one another, and words stand before and behind them."""
    random = np.random.default_rng(seed)
    writer = _writer(path, "gemma3", side=BIG_SIDE)
    _tower(writer, random, places=(BIG_SIDE // PATCH) ** 2)
    _norm(writer, "v.post_ln")
    writer.add_tensor("v.patch_embd.bias", _some(random, VIEW))
    writer.add_tensor("mm.input_projection.weight", _some(random, VIEW, width))
    writer.add_tensor("mm.soft_emb_norm.weight", np.ones(VIEW, dtype=np.float32))
    return _close(writer)


def write_with_grid(path: Path, *, width: int = WIDTH, seed: int = 5) -> Path:
    """As Qwen2-VL's: an image has as many rows as fit its shape, one for each square of CELL pixels."""
    random = np.random.default_rng(seed)
    writer = _writer(path, "qwen2vl_merger", side=SIDE)
    writer.add_tensor("v.patch_embd.weight.1", _some(random, VIEW, 3, PATCH, PATCH))
    _tower(writer, random, places=ROWS)
    for block in range(BLOCKS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            writer.add_tensor(f"v.blk.{block}.{name}.bias", _some(random, VIEW))
    _norm(writer, "v.post_ln")
    merged = 4 * VIEW
    writer.add_tensor("mm.0.weight", _some(random, merged, merged))
    writer.add_tensor("mm.0.bias", _some(random, merged))
    writer.add_tensor("mm.2.weight", _some(random, width, merged))
    writer.add_tensor("mm.2.bias", _some(random, width))
    return _close(writer)


def picture(seed: int, *, form: str = "PNG", size: tuple[int, int] = (40, 30)) -> bytes:
    """Another one for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, form)
    return data.getvalue()


def _writer(path: Path, kind: str, *, side: int) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", kind)
    writer.add_bool("clip.use_gelu", True)
    writer.add_uint32("clip.vision.image_size", side)
    writer.add_uint32("clip.vision.patch_size", PATCH)
    writer.add_uint32("clip.vision.embedding_length", VIEW)
    writer.add_uint32("clip.vision.feed_forward_length", INNER)
    writer.add_uint32("clip.vision.projection_dim", VIEW)
    writer.add_uint32("clip.vision.block_count", BLOCKS)
    writer.add_uint32("clip.vision.attention.head_count", HEADS)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.25, 0.25, 0.25])
    return writer


def _tower(writer: gguf.GGUFWriter, random: np.random.Generator, *, places: int) -> None:
    writer.add_tensor("v.patch_embd.weight", _some(random, VIEW, 3, PATCH, PATCH))
    writer.add_tensor("v.position_embd.weight", _some(random, places, VIEW))
    for block in range(BLOCKS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            writer.add_tensor(f"v.blk.{block}.{name}.weight", _some(random, VIEW, VIEW))
        writer.add_tensor(f"v.blk.{block}.ffn_up.weight", _some(random, INNER, VIEW))
        writer.add_tensor(f"v.blk.{block}.ffn_down.weight", _some(random, VIEW, INNER))
        for name in ("ln1", "ln2"):
            _norm(writer, f"v.blk.{block}.{name}")


def _norm(writer: gguf.GGUFWriter, name: str) -> None:
    writer.add_tensor(f"{name}.weight", np.ones(VIEW, dtype=np.float32))
    writer.add_tensor(f"{name}.bias", np.zeros(VIEW, dtype=np.float32))


def _some(random: np.random.Generator, *shape: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    return random.normal(0, 1 / np.sqrt(shape[-1]), shape).astype(np.float32)


def _close(writer: gguf.GGUFWriter) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert writer.path is not None
    return Path(writer.path)
