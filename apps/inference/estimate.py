"""What a replica will need in memory, estimated from the GGUF's metadata before anything is loaded. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.inference.engine.loading import DRAFTS, PARKED_SHARE, outputs
from apps.inference.layers import BATCH, EMBEDS_ONLY, SEES

KV_BYTES = {  # a value of each cache type (ggml's block sizes)
    "f32": 4.0, "f16": 2.0, "bf16": 2.0,
    "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32, "q4_1": 20 / 32, "q4_0": 18 / 32,
}  # fmt: skip
UBATCH = 512  # tokens that are computed at once, unless a run asks for another number
EMBED_BATCH = 128  # tokens of a generative model's embedding batch (as many as a step has)
OVERHEAD = 96 * 1024 * 1024  # the process itself
SIGHT = 256 * 1024 * 1024  # what encoding an image takes, and half of it for the images seen last (engine/eyes.py)


@dataclass(frozen=True)
class Need:
    """Bytes. `parked` is for idle caches outside of llama.cpp's memory, `embedding` for the context that texts are
    embedded in, once somebody asks; `sight` is for images."""

    weights: int
    kv: int
    compute: int
    embedding: int
    parked: int = 0
    sight: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.compute + self.embedding + self.parked + self.sight + OVERHEAD


def need(info: Mapping[str, Any], *, context: int, slots: int, kv_type: str = "f16") -> Need:
    """Weights with the layers over them, the KV cache of `slots` contexts of `context` tokens, compute buffers (logits,
    activations), and an embedding context beside them; a model that only embeds has nothing but that one."""
    arch = str(info.get("general.architecture", ""))

    def number(name: str, default: int = 0) -> int:
        value = info.get(f"{arch}.{name}", default)
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else default

    width = number("embedding_length")
    heads = number("attention.head_count", 1) or 1
    kv_heads = number("attention.head_count_kv", heads)
    key = number("attention.key_length", width // heads)
    value = number("attention.value_length", width // heads)
    token = number("block_count") * kv_heads * (key + value) * KV_BYTES[kv_type]
    shape = _Shape(width, number("feed_forward_length", 4 * width), int(info.get("vocab_size") or 0))
    batch = min(int(info.get(BATCH) or UBATCH), context * slots)
    weights = int(info.get("tensor_bytes") or info.get("weights_size") or 0) + int(info.get("layer_bytes") or 0)
    if info.get(EMBEDS_ONLY):
        return Need(weights=weights, kv=0, compute=0, embedding=shape.embedding(batch=max(batch, context), cells=0))
    return Need(
        weights=weights,
        kv=int(context * slots * token),
        parked=int(context * slots * token) // PARKED_SHARE,
        compute=shape.compute(batch=batch, cells=context * slots, outputs=2 * outputs(slots, drafts=DRAFTS)),
        embedding=int((context + EMBED_BATCH) * token) + shape.embedding(batch=EMBED_BATCH, cells=context),
        sight=SIGHT if info.get(SEES) else 0,
    )


@dataclass(frozen=True)
class _Shape:
    width: int
    feed_forward: int
    vocabulary: int

    def compute(self, *, batch: int, cells: int, outputs: int) -> int:
        """llama.cpp's compute and output buffers with flash attention: activations of one micro-batch in 32-bit floats,
        its attention mask in 16-bit ones, and rows of logits, which are held twice."""
        return 4 * batch * (9 * self.width + 2 * self.feed_forward) + 2 * batch * cells + 4 * self.vocabulary * outputs

    def embedding(self, *, batch: int, cells: int) -> int:
        """Pooling wants all tokens of a batch as outputs: their logits are held, once where they are not computed."""
        return self.compute(batch=batch, cells=cells or batch, outputs=2 * batch if cells else batch)
