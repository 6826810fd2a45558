"""LoRA adapters of the PEFT library -> GGUF, for a base that one of our decoders describes."""

import math
import re
from collections.abc import Mapping
from typing import Any

from gguf import GGUFType, GGUFWriter

from apps.errors import Problem
from apps.registry.conversion.config import MAX_HEADS, Config
from apps.registry.conversion.decoders import ARCHITECTURES, ATTENTION, FEED_FORWARD, Decoder
from apps.registry.conversion.planning import Planned, Ready, matched
from apps.registry.conversion.safetensors import Tensor
from apps.registry.conversion.source import Source

CONFIG = "adapter_config.json"
MAX_RANK = 65536
_NAME = re.compile(
    r"(?:base_model\.model\.)?(?:model\.)+layers\.(\d{1,4})\.(?:self_attn|mlp)\.(\w+)\.lora_([AB])(?:\.default)?\.weight"
)
_PARTS = ATTENTION | FEED_FORWARD


def begin(source: Source, base: Mapping[str, Any]) -> tuple[GGUFWriter, list[Ready]]:
    """The adapter's head and its tensors. `base` has the architecture and the heads of the base model.

    Raises Problem("invalid") for what is no LoRA, or changes what llama.cpp cannot change.
    """
    config = Config(source.json(CONFIG), CONFIG)
    writer = GGUFWriter(None, str(base["architecture"]))
    writer.add_type(GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", _alpha(config))
    tensors = source.tensors()
    decoder = _decoder(str(base["architecture"]))
    planned = [_planned(tensor, decoder, base) for tensor in tensors.values()]
    if not planned:
        raise Problem("invalid", "the adapter holds no tensors")
    return writer, matched(planned, tensors, lambda name: False)


def _alpha(config: Config) -> float:
    config.one_of("peft_type", ("LORA",), "LORA")
    for key in ("use_dora", "fan_in_fan_out"):
        if config.flag(key):
            raise config.wrong(key, "cannot be converted")
    for key in ("rank_pattern", "alpha_pattern"):
        if not config.inner(key).empty():
            raise config.wrong(key, "cannot be converted")
    if config.texts("modules_to_save"):
        raise config.wrong("modules_to_save", "cannot be converted")
    rank = config.integer("r", most=MAX_RANK)
    return config.number("lora_alpha") * (math.sqrt(rank) if config.flag("use_rslora") else 1)


def _decoder(architecture: str) -> Decoder:
    for decoder in ARCHITECTURES.values():
        if decoder.name == architecture:
            return decoder
    raise Problem("invalid", f"safetensors adapters cannot be converted for a base of architecture {architecture!r}")


def _planned(tensor: Tensor, decoder: Decoder, base: Mapping[str, Any]) -> Planned:
    found = _NAME.fullmatch(tensor.name)
    if not found or found[2] not in _PARTS or len(tensor.shape) != 2 or 0 in tensor.shape:
        raise Problem("invalid", f"tensor {tensor.name!r} of the adapter cannot be converted")
    layer, part, side = found[1], found[2], found[3]
    heads = int(base["heads" if part == "q_proj" else "kv_heads"])
    change = decoder.moved(heads, part) if side == "B" else None
    if change and (not 0 < heads <= MAX_HEADS or tensor.shape[0] % (2 * heads)):
        raise Problem("invalid", f"tensor {tensor.name!r} of the adapter does not fit the base's heads")
    name = f"blk.{int(layer)}.{_PARTS[part]}.weight.lora_{side.lower()}"
    return Planned(name, tensor.name, tensor.shape, change, exact=True)
