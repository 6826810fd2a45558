"""Tiny models as their makers publish them: safetensors, config.json and a tokenizer, with random weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy

Weights = dict[str, Any]
NAMES = {"float32": "F32", "float16": "F16", "uint16": "BF16", "int64": "I64"}

WIDTH, LAYERS, HEADS, KV_HEADS, HEAD, INNER = 64, 2, 4, 2, 16, 128
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


@dataclass
class Checkpoint:
    """`weights` are 32-bit; `dtype` says as what they are written: F32, F16 or BF16."""

    config: dict[str, Any]
    weights: Weights
    files: dict[str, Any] = field(default_factory=dict)  # JSON by file name; texts and bytes as they are
    dtype: str = "F32"

    def save(self, folder: Path, *, shards: int = 1) -> dict[str, Path]:
        """The files by the names under which a client would send them."""
        for name, content in {"config.json": self.config, **self.files}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else as_text(content).encode())
        names = sorted(self.weights)
        for number in range(shards):
            part = {name: cast(self.weights[name], self.dtype) for name in names[number::shards]}
            stem = "model" if shards == 1 else f"model-{number + 1:05}-of-{shards:05}"
            (folder / f"{stem}.safetensors").write_bytes(safetensors(part))
        return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}

    def rounded(self) -> Weights:
        """The weights as whoever reads the files sees them."""
        return {name: widened(cast(array, self.dtype)) for name, array in self.weights.items()}


def as_text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content)


def cast(array: Any, dtype: str) -> Any:
    """BF16 as its bits: the upper half of a 32-bit float's."""
    if array.dtype != numpy.float32 or dtype == "F32":
        return array
    return array.astype(numpy.float16) if dtype == "F16" else (array.view(numpy.uint32) >> 16).astype(numpy.uint16)


def widened(array: Any) -> Any:
    if array.dtype == numpy.uint16:
        return (array.astype(numpy.uint32) << 16).view(numpy.float32)
    return array.astype(numpy.float32)


def safetensors(arrays: Mapping[str, Any]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, array in arrays.items():
        raw = array.tobytes()
        place = [len(body), len(body) + len(raw)]
        header[name] = {"dtype": NAMES[str(array.dtype)], "shape": list(array.shape), "data_offsets": place}
        body += raw
    head = json.dumps(header).encode()
    return len(head).to_bytes(8, "little") + head + body


# --- the tokenizers -----------------------------------------------------------------------------------------------


def byte_letters() -> list[str]:
    """GPT-2's letter for each byte."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = iter(range(256, 512))
    return [chr(byte) if byte in shown else chr(next(rest)) for byte in range(256)]


MERGES = ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "l d", "Ġwor ld", "1 2"]
SPECIAL = ["<|begin|>", "<|end|>"]


def byte_level(pattern: str = LLAMA3, *, bos: bool = False) -> dict[str, Any]:
    """A tokenizer.json of 256 bytes, ten merges and two special tokens."""
    tokens = byte_letters() + [merge.replace(" ", "") for merge in MERGES]
    single = [{"SpecialToken": {"id": SPECIAL[0], "type_id": 0}}] if bos else []
    return {
        "model": {"type": "BPE", "vocab": {token: number for number, token in enumerate(tokens)}, "merges": MERGES},
        "added_tokens": [
            {"id": len(tokens) + number, "content": text, "special": True} for number, text in enumerate(SPECIAL)
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        },
        "post_processor": {"type": "TemplateProcessing", "single": [*single, {"Sequence": {"id": "A", "type_id": 0}}]},
    }


PIECES = ["\u2581", "h", "e", "l", "o", "w", "r", "d", "he", "ll", "hell", "hello", "\u2581w", "or", "\u2581wor", "ld",
          "\u2581world", "\u2581hello"]  # fmt: skip


def sentence_pieces() -> list[tuple[str, float, int]]:
    """Text, score and type, as sentencepiece numbers them."""
    firm = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    firm += [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    return firm + [(piece, -float(rank), 1) for rank, piece in enumerate(PIECES)]


def sentence_model(pieces: list[tuple[str, float, int]], *, kind: int = 2, prefix: bool = True) -> bytes:
    """tokenizer.model, by hand: sentencepiece_model.proto."""
    body = b""
    for text, score, type_ in pieces:
        raw = text.encode()
        piece = b"\x0a" + bytes([len(raw)]) + raw
        piece += b"\x15" + numpy.float32(score).tobytes() + b"\x18" + bytes([type_])
        body += b"\x0a" + bytes([len(piece)]) + piece
    return body + b"\x12\x02\x18" + bytes([kind]) + b"\x1a\x04\x18" + bytes([int(prefix)]) + b"\x20\x00"


def sentence_json(pieces: list[tuple[str, float, int]], *, prefix: bool = True) -> dict[str, Any]:
    """The same as a tokenizer.json that falls back to bytes."""
    known = {text: number for number, (text, _, _) in enumerate(pieces)}
    merges = [
        f"{text[:cut]} {text[cut:]}"
        for text, _, kind in pieces
        for cut in range(1, len(text))
        if kind == 1 and text[:cut] in known and text[cut:] in known
    ]
    return {
        "model": {"type": "BPE", "vocab": known, "merges": merges, "byte_fallback": True, "unk_token": "<unk>"},
        "added_tokens": [
            {"id": number, "content": text, "special": True}
            for number, (text, _, kind) in enumerate(pieces)
            if kind in (2, 3)
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [{"type": "Prepend", "prepend": "\u2581"}] * prefix
            + [{"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}],
        },
    }


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "hell", "##o", "play", "##ing", "a", ",", "!"]


# --- the models ---------------------------------------------------------------------------------------------------


def decoder(architecture: str, *, dtype: str = "F32", tied: bool = False, seed: int = 0, **config: Any) -> Checkpoint:
    """A model of one of the four families, with the tokenizer that the family has."""
    gemma = architecture.startswith("Gemma3")
    base: dict[str, Any] = {
        "architectures": [architecture],
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "intermediate_size": INNER,
        "vocab_size": 320,
        "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": tied or gemma,
        **({"head_dim": HEAD} if architecture.startswith(("Qwen3", "Gemma3")) else {}),
        **({"hidden_activation": "gelu_pytorch_tanh", "sliding_window": 8} if gemma else {"hidden_act": "silu"}),
        **config,
    }
    files: dict[str, Any] = {"tokenizer_config.json": {"bos_token": SPECIAL[0], "eos_token": {"content": SPECIAL[1]}}}
    if gemma:
        files = {"tokenizer.model": sentence_model(sentence_pieces(), prefix=False)}
        files["tokenizer_config.json"] = {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True}
    else:
        files["tokenizer.json"] = byte_level(LLAMA3 if "Llama" in architecture else QWEN2)
    return Checkpoint(base, decoder_weights(base, architecture, numpy.random.default_rng(seed)), files, dtype)


def decoder_weights(config: dict[str, Any], architecture: str, numbers: Any) -> Weights:
    def some(*shape: int, scale: float = 0.15) -> Any:
        return (numbers.standard_normal(shape) * scale).astype(numpy.float32)

    gemma = architecture.startswith("Gemma3")
    weights = {
        "model.embed_tokens.weight": some(config["vocab_size"], WIDTH, scale=0.5),
        "model.norm.weight": some(WIDTH),
    }
    if not config["tie_word_embeddings"]:
        weights["lm_head.weight"] = some(config["vocab_size"], WIDTH, scale=0.5)
    shapes = {
        "self_attn.q_proj": (HEADS * HEAD, WIDTH), "self_attn.k_proj": (KV_HEADS * HEAD, WIDTH),
        "self_attn.v_proj": (KV_HEADS * HEAD, WIDTH), "self_attn.o_proj": (WIDTH, HEADS * HEAD),
        "mlp.gate_proj": (INNER, WIDTH), "mlp.up_proj": (INNER, WIDTH), "mlp.down_proj": (WIDTH, INNER),
    }  # fmt: skip
    norms = ["input_layernorm", "post_attention_layernorm"]
    norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"] if gemma else []
    for number in range(LAYERS):
        layer = f"model.layers.{number}"
        weights |= {f"{layer}.{part}.weight": some(*shape) for part, shape in shapes.items()}
        weights |= {f"{layer}.{norm}.weight": some(WIDTH) for norm in norms}
        if architecture.startswith("Qwen2"):
            weights |= {f"{layer}.self_attn.{it}_proj.bias": some(shapes[f"self_attn.{it}_proj"][0]) for it in "qkv"}
        if architecture.startswith(("Qwen3", "Gemma3")):
            weights |= {f"{layer}.self_attn.{it}_norm.weight": some(HEAD) for it in "qk"}
    return weights if gemma else {name: array + ("norm" in name) for name, array in weights.items()}


def encoder(*, dtype: str = "F32", prefix: str = "", **files: Any) -> Checkpoint:
    """A BERT of the same width."""
    config = {
        "architectures": ["BertForMaskedLM" if prefix else "BertModel"],
        "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": INNER,
        "vocab_size": len(WORDS) + 2, "max_position_embeddings": 64, "type_vocab_size": 2, "hidden_act": "gelu",
    }  # fmt: skip
    numbers = numpy.random.default_rng(1)

    def some(*shape: int) -> Any:
        return (numbers.standard_normal(shape) * 0.3).astype(numpy.float32)

    weights = {
        "embeddings.word_embeddings.weight": some(len(WORDS) + 2, WIDTH),
        "embeddings.position_embeddings.weight": some(64, WIDTH),
        "embeddings.token_type_embeddings.weight": some(2, WIDTH),
        "embeddings.position_ids": numpy.arange(64)[None],
        "pooler.dense.weight": some(WIDTH, WIDTH),
    }
    linear = {"attention.self.query": (WIDTH, WIDTH), "attention.self.key": (WIDTH, WIDTH),
              "attention.self.value": (WIDTH, WIDTH), "attention.output.dense": (WIDTH, WIDTH),
              "intermediate.dense": (INNER, WIDTH), "output.dense": (WIDTH, INNER)}  # fmt: skip
    norms = ["embeddings.LayerNorm"]
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        for part, shape in linear.items():
            weights |= {f"{layer}.{part}.weight": some(*shape), f"{layer}.{part}.bias": some(shape[0])}
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for norm in norms:
        weights |= {f"{norm}.weight": some(WIDTH) + 1, f"{norm}.bias": some(WIDTH)}
    renamed = {f"{prefix}{name}": array for name, array in weights.items()}
    return Checkpoint(config, renamed, files or {"vocab.txt": "\n".join(WORDS) + "\n"}, dtype)
