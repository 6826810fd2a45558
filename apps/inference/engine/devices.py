"""What this machine can compute on. `python -m apps.inference.engine.devices` prints it as JSON, from a process of its
own, so that a GPU driver's state stays out of the one that asks."""

import ctypes
import json
import sys
from typing import Any

import psutil

from apps.inference.engine.lib import lib

TYPES = ("cpu", "gpu", "igpu", "accelerator", "meta")  # enum ggml_backend_dev_type


def devices() -> list[dict[str, Any]]:
    """Every device that ggml was built for and found here: name, description, type, and memory in bytes.

    ggml calls all of the CPU's memory free; what is available is asked of the system instead.
    """
    lib.llama_backend_init()
    count = _function("count", ctypes.c_size_t)
    get = _function("get", ctypes.c_void_p, ctypes.c_size_t)
    return [_describe(get(index)) for index in range(count())]


def _describe(device: int) -> dict[str, Any]:
    name, description = (_function(part, ctypes.c_char_p, ctypes.c_void_p) for part in ("name", "description"))
    kind = TYPES[_function("type", ctypes.c_int, ctypes.c_void_p)(device)]
    free, total = _memory(device, kind)
    return {
        "name": name(device).decode(errors="replace"),
        "description": description(device).decode(errors="replace"),
        "type": kind,
        "memory_free": free,
        "memory_total": total,
    }


def _memory(device: int, kind: str) -> tuple[int, int]:
    if kind == "cpu":
        memory = psutil.virtual_memory()
        return int(memory.available), int(memory.total)
    size = ctypes.POINTER(ctypes.c_size_t)
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    _function("memory", None, ctypes.c_void_p, size, size)(device, ctypes.byref(free), ctypes.byref(total))
    return free.value, total.value


def _function(part: str, result: Any, *arguments: Any) -> Any:
    """One of ggml's device calls; they live in the libraries that libllama is linked with."""
    function = getattr(lib._lib, f"ggml_backend_dev_{part}")
    function.restype, function.argtypes = result, arguments
    return function


if __name__ == "__main__":
    json.dump(devices(), sys.stdout)
