"""LoRA adapters: read from their files, checked by llama.cpp against the model, applied to its context."""

import ctypes
from collections.abc import Sequence
from typing import Any

from apps.inference.engine.lib import lib, opened
from apps.inference.engine.loading import Adapter, LoadFailed


def read(model: Any, adapters: Sequence[Adapter]) -> list[Any]:
    """Handles that live and die with the model; before its context is made, which counts them. Raises LoadFailed."""
    return [_read(model, adapter) for adapter in adapters]


def apply(context: Any, handles: Sequence[Any], adapters: Sequence[Adapter]) -> None:
    """Every later decode of this context goes through them."""
    if not handles:
        return
    pointers = (lib.llama_adapter_lora_p_ctypes * len(handles))(*handles)
    scales = (ctypes.c_float * len(handles))(*(adapter.scale for adapter in adapters))
    if lib.llama_set_adapters_lora(context, pointers, len(handles), scales):
        raise LoadFailed("the adapter could not be applied to the model")


def _read(model: Any, adapter: Adapter) -> Any:
    with opened(adapter.file) as file:
        handle = lib.llama_adapter_lora_init_from_file_ptr(model, file)
    if not handle:
        raise LoadFailed("the adapter could not be loaded: it is no LoRA in GGUF, or was made for another model")
    if lib.llama_adapter_get_alora_n_invocation_tokens(handle):
        raise LoadFailed("the adapter is one that a marker in the prompt activates; such adapters are not supported")
    return handle
