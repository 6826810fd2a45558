"""BERT, for embeddings: how its parts are called on both sides (llama.cpp's `bert`). Pure but for numpy."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gguf import GGUFWriter, PoolingType

from apps.errors import Problem
from apps.registry.conversion.config import MAX_HEADS, MAX_LAYERS, MAX_VOCABULARY, MAX_WIDTH, Config
from apps.registry.conversion.planning import Planned
from apps.registry.conversion.source import Source

_IGNORED = re.compile(r"(bert\.)?(embeddings\.position_ids|pooler\..*)|cls\..*")
_POOLINGS = {
    "pooling_mode_mean_tokens": PoolingType.MEAN,
    "pooling_mode_cls_token": PoolingType.CLS,
    "pooling_mode_lasttoken": PoolingType.LAST,
}
_LAYER = {
    "attn_q": ("attention.self.query", "width", "width"),
    "attn_k": ("attention.self.key", "width", "width"),
    "attn_v": ("attention.self.value", "width", "width"),
    "attn_output": ("attention.output.dense", "width", "width"),
    "ffn_up": ("intermediate.dense", "inner", "width"),
    "ffn_down": ("output.dense", "width", "inner"),
}
_NORMS = {"attn_output_norm": "attention.output.LayerNorm", "layer_output_norm": "output.LayerNorm"}


@dataclass(frozen=True)
class Encoder:
    """`prefix` is what the file puts before every name: a model saved with a head has `bert.`."""

    pooling: PoolingType
    prefix: str = ""
    name: str = "bert"

    def describe(self, config: Config, writer: GGUFWriter) -> None:
        config.one_of("hidden_act", ("gelu", "gelu_new", "gelu_pytorch_tanh"), "gelu")
        config.one_of("position_embedding_type", ("absolute",), "absolute")
        writer.add_vocab_size(config.integer("vocab_size", most=MAX_VOCABULARY))
        writer.add_context_length(config.integer("max_position_embeddings", most=2**20))
        writer.add_embedding_length(config.integer("hidden_size", most=MAX_WIDTH))
        writer.add_block_count(config.integer("num_hidden_layers", most=MAX_LAYERS))
        writer.add_feed_forward_length(config.integer("intermediate_size", most=16 * MAX_WIDTH))
        writer.add_head_count(_heads(config))
        writer.add_layer_norm_eps(config.number("layer_norm_eps", most=1.0, default=1e-12))
        writer.add_causal_attention(False)
        writer.add_pooling_type(self.pooling)

    def planned(self, config: Config) -> Iterator[Planned]:
        sizes = {"width": config.integer("hidden_size", most=MAX_WIDTH)}
        sizes["inner"] = config.integer("intermediate_size", most=16 * MAX_WIDTH)
        tables = {
            "token_embd": ("word_embeddings", config.integer("vocab_size", most=MAX_VOCABULARY)),
            "position_embd": ("position_embeddings", config.integer("max_position_embeddings", most=2**20)),
            "token_types": ("token_type_embeddings", config.integer("type_vocab_size", most=65536, default=2)),
        }
        for name, (source, rows) in tables.items():
            exact = name != "token_embd"
            yield Planned(
                f"{name}.weight", f"{self.prefix}embeddings.{source}.weight", (rows, sizes["width"]), exact=exact
            )
        yield from self._norm("token_embd_norm", "embeddings.LayerNorm", sizes["width"])
        for layer in range(config.integer("num_hidden_layers", most=MAX_LAYERS)):
            yield from self._layer(f"blk.{layer}", f"encoder.layer.{layer}", sizes)

    def ignores(self, name: str) -> bool:
        """Positions that can be counted, and heads that an embedding does not pass through."""
        return _IGNORED.fullmatch(name) is not None

    def _layer(self, name: str, source: str, sizes: dict[str, int]) -> Iterator[Planned]:
        for target, (origin, rows, columns) in _LAYER.items():
            shape = (sizes[rows], sizes[columns])
            full = f"{self.prefix}{source}.{origin}"
            yield Planned(f"{name}.{target}.weight", f"{full}.weight", shape)
            yield Planned(f"{name}.{target}.bias", f"{full}.bias", shape[:1], exact=True)
        for target, origin in _NORMS.items():
            yield from self._norm(f"{name}.{target}", f"{source}.{origin}", sizes["width"])

    def _norm(self, name: str, source: str, width: int) -> Iterator[Planned]:
        for part in ("weight", "bias"):
            yield Planned(f"{name}.{part}", f"{self.prefix}{source}.{part}", (width,), exact=True)


def pooling(source: Source) -> PoolingType:
    """How token vectors become one: as sentence-transformers says it, else their mean, as it does by itself."""
    folder = next((path for path in _modules(source) if "pooling" in path.lower()), "1_Pooling")
    said = source.json(f"{folder}/config.json")
    chosen = [kind for key, kind in _POOLINGS.items() if said.get(key) is True]
    others = [key for key, value in said.items() if key.startswith("pooling_mode_") and value is True]
    if len(others) > len(chosen) or len(chosen) > 1:
        raise Problem("invalid", f"{folder}/config.json asks for a pooling that cannot be converted")
    return chosen[0] if chosen else PoolingType.MEAN


def _modules(source: Source) -> list[str]:
    said = source.value("modules.json")
    return (
        [str(module.get("path", "")) for module in said if isinstance(module, dict)] if isinstance(said, list) else []
    )


def _heads(config: Config) -> int:
    heads = config.integer("num_attention_heads", most=MAX_HEADS)
    if config.integer("hidden_size", most=MAX_WIDTH) % heads:
        raise config.wrong("num_attention_heads", "must divide hidden_size")
    return heads
