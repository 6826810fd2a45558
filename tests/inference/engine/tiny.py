"""A llama of random weights and LoRA adapters for it, small enough to be written by each test that needs one."""

from pathlib import Path

import gguf
import numpy as np

WIDTH, INNER, HEADS, BLOCKS, RANK = 32, 64, 2, 2, 4
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
TOKENS = ["<unk>", "<s>", "</s>", *BYTES]
TYPES = [2, 3, 3, *[6] * 256]  # unknown, control, control, bytes


def write_model(path: Path, *, width: int = WIDTH, seed: int = 1, kind: str = "llama") -> Path:
    """The kind qwen2vl has positions of several sections (M-RoPE)."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, kind)
    _describe(writer, width)
    if kind == "qwen2vl":
        writer.add_rope_dimension_sections([2, 3, 3, 0])
    _add(writer, random, "token_embd.weight", len(TOKENS), width)
    _add(writer, random, "output.weight", len(TOKENS), width)
    writer.add_tensor("output_norm.weight", np.ones(width, dtype=np.float32))
    for block in range(BLOCKS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            _add(writer, random, f"blk.{block}.{name}.weight", width, width)
        for name, rows, columns in (("gate", INNER, width), ("up", INNER, width), ("down", width, INNER)):
            _add(writer, random, f"blk.{block}.ffn_{name}.weight", rows, columns)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{block}.{name}.weight", np.ones(width, dtype=np.float32))
    return _close(writer, path)


def write_adapter(path: Path, *, width: int = WIDTH, kind: str = "lora", seed: int = 2) -> Path:
    """A LoRA on the values of every block, strong enough to be heard."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", kind)
    writer.add_float32("adapter.lora.alpha", 4.0 * RANK)
    for block in range(BLOCKS):
        for name in ("attn_v", "ffn_down"):
            columns = INNER if name == "ffn_down" else width
            _add(writer, random, f"blk.{block}.{name}.weight.lora_a", RANK, columns)
            _add(writer, random, f"blk.{block}.{name}.weight.lora_b", width, RANK)
    return _close(writer, path)


def _describe(writer: gguf.GGUFWriter, width: int) -> None:
    writer.add_context_length(256)
    writer.add_embedding_length(width)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // HEADS)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores([0.0] * len(TOKENS))
    writer.add_token_types(TYPES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def _add(writer: gguf.GGUFWriter, random: np.random.Generator, name: str, rows: int, columns: int) -> None:
    writer.add_tensor(name, random.normal(0, 1 / np.sqrt(columns), (rows, columns)).astype(np.float32))


def _close(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
