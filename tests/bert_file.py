"""A tiny BERT of random weights that llama.cpp runs: two layers of 32 numbers over a few words."""

from pathlib import Path

import numpy as np
from gguf import GGUFWriter
from gguf.constants import PoolingType

WIDTH, LAYERS, HEADS, FEED_FORWARD, CONTEXT = 32, 2, 4, 64, 64
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = (
    "the",
    "cat",
    "dog",
    "sat",
    "ran",
    "on",
    "a",
    "mat",
    "hill",
    "sky",
    "is",
    "blue",
    "green",
    "far",
    "near",
    "and",
)
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz.")


def tokens() -> list[str]:
    """As a converter writes a WordPiece vocabulary: a word's beginning is marked, its continuation is bare."""
    beginnings = dict.fromkeys((*WORDS, *LETTERS))
    return [*SPECIAL, *(f"\u2581{word}" for word in beginnings), *LETTERS]


def write(path: Path, *, pooling: PoolingType = PoolingType.MEAN, seed: int = 0, spoilt: bool = False) -> Path:
    """`spoilt` weights are no numbers."""
    writer = GGUFWriter(path, "bert")
    writer.add_name("Tiny BERT")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(pooling)
    writer.add_file_type(0)
    _add_words(writer)
    for name, shape in _shapes().items():
        writer.add_tensor(name, _numbers(name, shape, seed=seed, spoilt=spoilt))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_words(writer: GGUFWriter) -> None:
    words = tokens()
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("jina-v2-en")
    writer.add_token_list(words)
    writer.add_token_types([3 if word in SPECIAL else 1 for word in words])
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_eos_token_id(3)
    writer.add_mask_token_id(4)


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(tokens()), WIDTH),
        "position_embd.weight": (CONTEXT, WIDTH),
        "token_types.weight": (2, WIDTH),
        "token_embd_norm.weight": (WIDTH,),
        "token_embd_norm.bias": (WIDTH,),
    }
    square, line = (WIDTH, WIDTH), (WIDTH,)
    parts = dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (square, line))
    parts |= {"ffn_up": ((FEED_FORWARD, WIDTH), (FEED_FORWARD,)), "ffn_down": ((WIDTH, FEED_FORWARD), line)}
    parts |= dict.fromkeys(("attn_output_norm", "layer_output_norm"), (line, line))
    for layer in range(LAYERS):
        for part, (weight, bias) in parts.items():
            shapes |= {f"blk.{layer}.{part}.weight": weight, f"blk.{layer}.{part}.bias": bias}
    return shapes


def _numbers(name: str, shape: tuple[int, ...], *, seed: int, spoilt: bool) -> np.ndarray:
    if spoilt and name == "token_embd_norm.weight":
        return np.full(shape, np.nan, dtype=np.float32)
    if name.endswith("norm.weight"):
        return np.ones(shape, dtype=np.float32)
    random = np.random.default_rng([seed, *name.encode()])
    return random.normal(0, 0.3, shape).astype(np.float32)
