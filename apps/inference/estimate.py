"""What a replica will need in memory, estimated from the GGUF's metadata before anything is loaded. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KV_BYTES = {  # a value of each cache type (ggml's block sizes)
    "f32": 4.0, "f16": 2.0, "bf16": 2.0,
    "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32, "q4_1": 20 / 32, "q4_0": 18 / 32,
}  # fmt: skip
UBATCH = 512  # tokens that are computed at once at most
OVERHEAD = 96 * 1024 * 1024  # the process itself


@dataclass(frozen=True)
class Need:
    """Bytes."""

    weights: int
    kv: int
    compute: int

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.compute + OVERHEAD


def need(info: Mapping[str, Any], *, context: int, slots: int, kv_type: str = "f16") -> Need:
    """Weights, the KV cache of `slots` contexts of `context` tokens, and compute buffers (logits, activations)."""
    arch = str(info.get("general.architecture", ""))

    def number(name: str, default: int = 0) -> int:
        value = info.get(f"{arch}.{name}", default)
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else default

    width = number("embedding_length")
    heads = number("attention.head_count", 1) or 1
    kv_heads = number("attention.head_count_kv", heads)
    key = number("attention.key_length", width // heads)
    value = number("attention.value_length", width // heads)
    kv = int(context * slots * number("block_count") * kv_heads * (key + value) * KV_BYTES[kv_type])
    compute = _compute(
        width=width,
        feed_forward=number("feed_forward_length", 4 * width),
        vocabulary=int(info.get("vocab_size") or 0),
        context=context,
        slots=slots,
    )
    return Need(weights=int(info.get("tensor_bytes") or info.get("weights_size") or 0), kv=kv, compute=compute)


def _compute(*, width: int, feed_forward: int, vocabulary: int, context: int, slots: int) -> int:
    """llama.cpp's compute and output buffers with flash attention: activations of one micro-batch in 32-bit floats, its
    attention mask in 16-bit ones, and the logits of one token a slot (the engine asks for no more), held twice."""
    activations = 4 * UBATCH * (9 * width + 2 * feed_forward)
    mask = 2 * UBATCH * context * slots
    return activations + mask + 8 * vocabulary * slots
