"""Llama, Qwen 2, Qwen 3 and Gemma 3: how their parts are called on both sides, and what differs. Pure but for numpy.

Llama's queries and keys are rotated in pairs of neighbours by llama.cpp and in halves by the library that wrote the
file, so their rows change places; Gemma's norms are stored without the 1 that is added to them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gguf import GGUFWriter

from apps.errors import Problem
from apps.registry.conversion import rope
from apps.registry.conversion.config import MAX_HEADS, MAX_LAYERS, MAX_VOCABULARY, MAX_WIDTH, Config
from apps.registry.conversion.planning import Array, Change, Planned

_GEMMA_PERIOD = 6  # of so many layers the last one looks at everything, as llama.cpp has it built in
_IGNORED = re.compile(r"(model\.)?(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")

# A layer's matrices: their names in the safetensors and in the GGUF.
ATTENTION = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output"}
FEED_FORWARD = {"gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down"}


@dataclass(frozen=True)
class Decoder:
    """`name` is the GGUF's architecture. `rotates_pairs` is Llama's order of queries and keys."""

    name: str
    activations: tuple[str, ...] = ("silu",)
    activation_key: str = "hidden_act"
    rotates_pairs: bool = False
    biases: bool = False
    head_norms: bool = False
    gemma: bool = False
    any_head: bool = True  # heads may be wider or narrower than the width divided among them
    ties: bool = False  # what a file means that does not say whether input and output embeddings are one

    def describe(self, config: Config, writer: GGUFWriter) -> None:
        sizes = Sizes.of(config)
        self._check(config, sizes)
        writer.add_vocab_size(sizes.vocabulary)
        writer.add_context_length(config.integer("max_position_embeddings", most=2**31 - 1, default=8192))
        writer.add_embedding_length(sizes.width)
        writer.add_block_count(sizes.layers)
        writer.add_feed_forward_length(sizes.inner)
        writer.add_head_count(sizes.heads)
        writer.add_head_count_kv(sizes.kv_heads)
        writer.add_key_length(sizes.head)
        writer.add_value_length(sizes.head)
        writer.add_rope_dimension_count(sizes.head)
        writer.add_layer_norm_rms_eps(config.number("rms_norm_eps", most=1.0, default=1e-6))
        rope.describe(writer, config, default_base=1e6 if self.gemma else 10000.0)
        if self.gemma:
            _describe_gemma(config, writer)

    def planned(self, config: Config) -> Iterator[Planned]:
        sizes = Sizes.of(config)
        yield Planned("token_embd.weight", "model.embed_tokens.weight", (sizes.vocabulary, sizes.width))
        yield self._norm("output_norm", "model.norm", sizes.width)
        tied = config.flag("tie_word_embeddings", default=self.ties)
        if not tied:
            yield Planned("output.weight", "lm_head.weight", (sizes.vocabulary, sizes.width))
        factors = rope.factors(config, sizes.head)
        if factors is not None:
            yield Planned("rope_freqs.weight", "", factors.shape, made=factors)
        for layer in range(sizes.layers):
            yield from self._layer(sizes, f"model.layers.{layer}", f"blk.{layer}")

    def ignores(self, name: str) -> bool:
        """Tables that can be computed, and the output where it is the input once more."""
        return name == "lm_head.weight" or _IGNORED.fullmatch(name) is not None

    def moved(self, heads: int, part: str) -> Change | None:
        """How the rows of a layer's matrix `part` (q_proj, …) change places; `heads` are that matrix's own."""
        if not self.rotates_pairs or part not in ("q_proj", "k_proj"):
            return None
        return lambda array: paired(array, heads)

    def _layer(self, sizes: "Sizes", source: str, name: str) -> Iterator[Planned]:
        for part, shape in sizes.matrices().items():
            target = f"{name}.{(ATTENTION | FEED_FORWARD)[part]}"
            origin = f"{source}.{'self_attn' if part in ATTENTION else 'mlp'}.{part}"
            change = self.moved(sizes.heads if part == "q_proj" else sizes.kv_heads, part)
            yield Planned(f"{target}.weight", f"{origin}.weight", shape, change)
            if self.biases:
                yield Planned(f"{target}.bias", f"{origin}.bias", shape[:1], change, exact=True, optional=True)
        for target, origin in self._norms():
            yield self._norm(f"{name}.{target}", f"{source}.{origin}", sizes.width)
        if self.head_norms:
            for letter in "qk":
                yield self._norm(f"{name}.attn_{letter}_norm", f"{source}.self_attn.{letter}_norm", sizes.head)

    def _norms(self) -> list[tuple[str, str]]:
        if not self.gemma:
            return [("attn_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm")]
        return [
            ("attn_norm", "input_layernorm"),
            ("post_attention_norm", "post_attention_layernorm"),
            ("ffn_norm", "pre_feedforward_layernorm"),
            ("post_ffw_norm", "post_feedforward_layernorm"),
        ]

    def _norm(self, name: str, source: str, width: int) -> Planned:
        change: Change | None = (lambda array: array + 1) if self.gemma else None
        return Planned(f"{name}.weight", f"{source}.weight", (width,), change, exact=True)

    def _check(self, config: Config, sizes: "Sizes") -> None:
        config.one_of(self.activation_key, self.activations, self.activations[0])
        if not self.any_head and sizes.heads * sizes.head != sizes.width:
            raise config.wrong("head_dim", "times num_attention_heads must be hidden_size")
        if self.gemma:
            _check_gemma(config, sizes)


@dataclass(frozen=True)
class Sizes:
    vocabulary: int
    width: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head: int

    @classmethod
    def of(cls, config: Config) -> "Sizes":
        width = config.integer("hidden_size", most=MAX_WIDTH)
        heads = config.integer("num_attention_heads", most=MAX_HEADS)
        sizes = cls(
            vocabulary=config.integer("vocab_size", most=MAX_VOCABULARY),
            width=width,
            inner=config.integer("intermediate_size", most=16 * MAX_WIDTH),
            layers=config.integer("num_hidden_layers", most=MAX_LAYERS),
            heads=heads,
            kv_heads=config.integer("num_key_value_heads", most=MAX_HEADS, default=heads),
            head=config.integer("head_dim", most=MAX_WIDTH, default=max(1, width // heads)),
        )
        if sizes.heads % sizes.kv_heads or sizes.head % 2:
            raise Problem("invalid", "config.json: the heads do not divide evenly")
        return sizes

    def matrices(self) -> dict[str, tuple[int, int]]:
        """The shapes of a layer's matrices by their names in the safetensors: rows out, columns in."""
        outer, shared = self.heads * self.head, self.kv_heads * self.head
        return {
            "q_proj": (outer, self.width),
            "k_proj": (shared, self.width),
            "v_proj": (shared, self.width),
            "o_proj": (self.width, outer),
            "gate_proj": (self.inner, self.width),
            "up_proj": (self.inner, self.width),
            "down_proj": (self.width, self.inner),
        }


def paired(array: Array, heads: int) -> Array:
    """Rows of each head from halves (0, n/2, 1, n/2+1, … belong together) to neighbours."""
    rows, rest = array.shape[0], array.shape[1:]
    return array.reshape(heads, 2, rows // heads // 2, *rest).swapaxes(1, 2).reshape(array.shape)


def _describe_gemma(config: Config, writer: GGUFWriter) -> None:
    writer.add_sliding_window(config.integer("sliding_window", most=2**31 - 1, default=512))
    local = rope.parameters(config, "sliding_attention") if "rope_parameters" in config else config
    key = "rope_theta" if "rope_parameters" in config else "rope_local_base_freq"
    writer.add_float32("gemma3.rope.freq_base_swa", local.number(key, default=10000.0))
    if "final_logit_softcapping" in config:
        writer.add_final_logit_softcapping(config.number("final_logit_softcapping"))


def _check_gemma(config: Config, sizes: Sizes) -> None:
    """llama.cpp has these built in for Gemma 3; a file that means otherwise would answer nonsense."""
    config.integer("sliding_window_pattern", most=MAX_LAYERS, default=_GEMMA_PERIOD)
    kinds = config.texts("layer_types")
    full = [number for number, kind in enumerate(kinds, start=1) if kind == "full_attention"]
    if kinds and full != list(range(_GEMMA_PERIOD, sizes.layers + 1, _GEMMA_PERIOD)):
        raise config.wrong("layer_types", f"must have full attention in every {_GEMMA_PERIOD}th layer")
    if config.integer("sliding_window_pattern", most=MAX_LAYERS, default=_GEMMA_PERIOD) != _GEMMA_PERIOD:
        raise config.wrong("sliding_window_pattern", f"must be {_GEMMA_PERIOD}")
    scale = sizes.width // sizes.heads if sizes.layers == 62 else sizes.head
    if config.number("query_pre_attn_scalar", default=scale) != scale:
        raise config.wrong("query_pre_attn_scalar", f"must be {scale}")
    if "attn_logit_softcapping" in config:
        raise config.wrong("attn_logit_softcapping", "cannot be converted")


ARCHITECTURES = {
    "LlamaForCausalLM": Decoder("llama", rotates_pairs=True, biases=True),
    "Qwen2ForCausalLM": Decoder("qwen2", biases=True, any_head=False),
    "Qwen3ForCausalLM": Decoder("qwen3", head_norms=True),
    "Gemma3ForCausalLM": Decoder(
        "gemma3", ("gelu_pytorch_tanh",), "hidden_activation", head_norms=True, gemma=True, ties=True
    ),
}
