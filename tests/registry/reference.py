"""Decoders in plain numpy, from the weights as published: what a converted model's logits are compared with."""

import math
from collections.abc import Sequence
from typing import Any

import numpy

from tests.registry.checkpoints import HEAD, HEADS, KV_HEADS, LAYERS, Weights


def logits(config: dict[str, Any], weights: Weights, tokens: Sequence[int]) -> Any:
    """One row of logits for each token."""
    gemma = config["architectures"] == ["Gemma3ForCausalLM"]
    add = 1 if gemma else 0
    state = weights["model.embed_tokens.weight"][list(tokens)]
    state = state * math.sqrt(config["hidden_size"]) if gemma else state
    for number in range(LAYERS):
        state = layer(config, weights, f"model.layers.{number}", state, gemma)
    head = "model.embed_tokens.weight" if config["tie_word_embeddings"] else "lm_head.weight"
    return norm(state, weights["model.norm.weight"] + add, config) @ weights[head].T


def layer(config: dict[str, Any], weights: Weights, name: str, state: Any, gemma: bool) -> Any:
    def normed(values: Any, part: str) -> Any:
        return norm(values, weights[f"{name}.{part}.weight"] + (1 if gemma else 0), config)

    attended = attention(config, weights, name, normed(state, "input_layernorm"), gemma)
    state = state + (normed(attended, "post_attention_layernorm") if gemma else attended)
    inner = normed(state, "pre_feedforward_layernorm" if gemma else "post_attention_layernorm")
    gate = inner @ weights[f"{name}.mlp.gate_proj.weight"].T
    opened = tanh_gelu(gate) if gemma else gate / (1 + numpy.exp(-gate))
    fed = (opened * (inner @ weights[f"{name}.mlp.up_proj.weight"].T)) @ weights[f"{name}.mlp.down_proj.weight"].T
    return state + (normed(fed, "post_feedforward_layernorm") if gemma else fed)


def attention(config: dict[str, Any], weights: Weights, name: str, state: Any, gemma: bool) -> Any:
    def projected(letter: str, heads: int) -> Any:
        flat = state @ weights[f"{name}.self_attn.{letter}_proj.weight"].T
        flat = flat + weights.get(f"{name}.self_attn.{letter}_proj.bias", 0)
        values = flat.reshape(len(state), heads, HEAD).transpose(1, 0, 2)
        scale = weights.get(f"{name}.self_attn.{letter}_norm.weight")
        return values if scale is None else norm(values, scale + (1 if gemma else 0), config)

    query, key = (rotated(projected(it, heads), config) for it, heads in (("q", HEADS), ("k", KV_HEADS)))
    key, value = (numpy.repeat(it, HEADS // KV_HEADS, axis=0) for it in (key, projected("v", KV_HEADS)))
    scores = query @ key.transpose(0, 2, 1) / math.sqrt(HEAD)
    rows, columns = numpy.indices(scores.shape[1:])
    seen = (columns <= rows) & ((rows - columns < config["sliding_window"]) if gemma else True)
    scores = numpy.where(seen, scores, -numpy.inf)
    shares = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = (shares / shares.sum(axis=-1, keepdims=True)) @ value
    joined = mixed.transpose(1, 0, 2).reshape(len(state), -1)
    return joined @ weights[f"{name}.self_attn.o_proj.weight"].T


def rotated(values: Any, config: dict[str, Any]) -> Any:
    """The published rotation: the first half of a head with the second."""
    frequencies = config["rope_theta"] ** -(numpy.arange(0, HEAD, 2) / HEAD)
    angles = numpy.outer(numpy.arange(values.shape[1]), scaled(frequencies, config.get("rope_scaling") or {}))
    cosine, sine = numpy.cos(angles), numpy.sin(angles)
    first, second = values[..., : HEAD // 2], values[..., HEAD // 2 :]
    return numpy.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)


def scaled(frequencies: Any, scaling: dict[str, Any]) -> Any:
    if scaling.get("rope_type") == "linear":
        return frequencies / scaling["factor"]
    if scaling.get("rope_type") != "llama3":
        return frequencies
    found = []
    for frequency in frequencies:
        turns = scaling["original_max_position_embeddings"] * frequency / (2 * math.pi)
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        if turns > high:
            found.append(frequency)
        elif turns < low:
            found.append(frequency / scaling["factor"])
        else:
            smooth = (turns - low) / (high - low)
            found.append((1 - smooth) * frequency / scaling["factor"] + smooth * frequency)
    return numpy.array(found)


def norm(values: Any, scale: Any, config: dict[str, Any]) -> Any:
    return values / numpy.sqrt((values**2).mean(axis=-1, keepdims=True) + config["rms_norm_eps"]) * scale


def tanh_gelu(values: Any) -> Any:
    return 0.5 * values * (1 + numpy.tanh(math.sqrt(2 / math.pi) * (values + 0.044715 * values**3)))
