"""Rotary position embeddings: config.json's two spellings -> GGUF keys, and Llama 3's factors. Pure but for numpy."""

import math
from typing import Any

import numpy
from gguf import GGUFWriter, RopeScalingType
from numpy.typing import NDArray

from apps.errors import Problem
from apps.registry.conversion.config import Config

_MOST_FACTOR = 1e6


def parameters(config: Config, layers: str = "full_attention") -> Config:
    """`rope_parameters` (of these layers, where they differ) as newer files have them, else `rope_scaling`."""
    if "rope_parameters" in config:
        found = config.inner("rope_parameters")
        return found.inner(layers) if layers in found else found
    return config.inner("rope_scaling")


def base(config: Config, default: float) -> float:
    found = parameters(config)
    return found.number("rope_theta") if "rope_theta" in found else config.number("rope_theta", default=default)


def kind(found: Config) -> str:
    return found.text("rope_type") or found.text("type", "default")


def describe(writer: GGUFWriter, config: Config, *, default_base: float) -> None:
    """Raises Problem("invalid") for a scaling that llama.cpp does not have."""
    writer.add_rope_freq_base(base(config, default_base))
    found = parameters(config)
    name = kind(found)
    if name in ("linear", "yarn"):
        writer.add_rope_scaling_type(RopeScalingType.LINEAR if name == "linear" else RopeScalingType.YARN)
        writer.add_rope_scaling_factor(found.number("factor", most=_MOST_FACTOR))
        if name == "yarn":
            writer.add_rope_scaling_orig_ctx_len(_original(found, config))
    elif name not in ("default", "llama3"):
        raise Problem("invalid", f"rope scaling {name!r} cannot be converted; linear, yarn and llama3 can")


def factors(config: Config, head: int) -> NDArray[Any] | None:
    """What each of a head's frequencies is divided by, for Llama 3.1 and later: slow ones by `factor`, fast ones by 1,
    those between by a mix (the formula of Meta's reference code)."""
    found = parameters(config)
    if kind(found) != "llama3":
        return None
    factor, low, high = (
        found.number(key, most=_MOST_FACTOR) for key in ("factor", "low_freq_factor", "high_freq_factor")
    )
    if high <= low:
        raise found.wrong("high_freq_factor", "must be above low_freq_factor")
    original = _original(found, config)
    frequencies = base(config, 10000.0) ** -(numpy.arange(0, head, 2, dtype=numpy.float64) / head)
    waves = 2 * math.pi / frequencies
    smooth = numpy.clip((original / waves - low) / (high - low), 0.0, 1.0)
    divided = 1 / ((1 - smooth) / factor + smooth)
    return divided.astype(numpy.float32)


def _original(found: Config, config: Config) -> int:
    where = found if "original_max_position_embeddings" in found else config
    key = "original_max_position_embeddings" if where is found else "max_position_embeddings"
    return where.integer(key, most=2**31 - 1)
