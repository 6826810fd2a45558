"""LoRA adapters: does this GGUF hold one, and does it fit that base? Pure."""

from collections.abc import Mapping

from apps.errors import Problem
from apps.registry.gguf import Gguf, Tensor

_ANY_SHAPE = ("token_embd.weight",)  # llama.cpp turns this one around


def check(adapter: Gguf, base: Gguf) -> None:
    """Raises Problem("invalid") with a sentence where llama.cpp would refuse to load them together."""
    if adapter.metadata.get("general.type") != "adapter":
        raise Problem("invalid", "the adapter's file is no adapter (general.type)")
    if adapter.metadata.get("adapter.type") != "lora":
        raise Problem("invalid", f"adapter.type is {adapter.metadata.get('adapter.type')!r}; only lora is supported")
    if adapter.architecture != base.architecture:
        raise Problem(
            "invalid", f"the adapter is for {adapter.architecture!r}, the base model is {base.architecture!r}"
        )
    if not isinstance(adapter.metadata.get("adapter.lora.alpha"), int | float):
        raise Problem("invalid", "the adapter does not say adapter.lora.alpha")
    _check_pairs(adapter, {tensor.name: tensor for tensor in base.tensors})


def _check_pairs(adapter: Gguf, base: Mapping[str, Tensor]) -> None:
    tensors = {tensor.name: tensor for tensor in adapter.tensors}
    if not tensors:
        raise Problem("invalid", "the adapter holds no tensors")
    for name in tensors:
        stem, _, side = name.rpartition(".lora_")
        if side in ("a", "b"):
            first, second = tensors.get(f"{stem}.lora_a"), tensors.get(f"{stem}.lora_b")
            if first is None or second is None:
                raise Problem("invalid", f"the adapter has only one half of {stem!r}")
            _check_pair(stem, first, second, base)
        elif not name.endswith("_norm.weight"):
            raise Problem("invalid", f"tensor {name!r} of the adapter is none that a LoRA has")


def _check_pair(stem: str, first: Tensor, second: Tensor, base: Mapping[str, Tensor]) -> None:
    if stem not in base:
        raise Problem("invalid", f"the base model has no tensor {stem!r}, which the adapter changes")
    shape = base[stem].shape
    if stem in _ANY_SHAPE:
        return
    sound = len(first.shape) == len(second.shape) == len(shape) == 2 and first.shape[1] == second.shape[0]
    if not sound or (first.shape[0], second.shape[1]) != shape:
        raise Problem("invalid", f"the adapter does not fit the base model's tensor {stem!r}")
