"""`python -m apps.registry.quantizer`: llama.cpp's quantiser on one file, confined; apps/registry/quantizing.py starts
it. The only code of the registry that loads llama.cpp, and never in a worker's own process."""

import ctypes
import os
import re
import sys
from functools import partial
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any

from apps.errors import Problem
from apps.registry import confinement

_ERROR = 4  # GGML_LOG_LEVEL_ERROR
_TENSOR = re.compile(r"\[ *\d+/ *\d+\] +(\S+)")  # "[   3/ 290]  blk.0.attn_k.weight - [ 896, 128, …"
_PATH = re.compile(r"/proc/self/fd/\d+")


def quantize(lib: Any, command: dict[str, Any], tell: confinement.Tell) -> dict[str, Any]:
    """`lib` are llama.cpp's bindings. `command` has one file, `output`, `type` (llama_ftype), `threads` and
    `buffer_bytes`."""
    complaints: list[str] = []

    def hear(level: int, text: bytes, _data: object) -> None:
        line = text.decode("utf-8", "replace")
        if found := _TENSOR.match(line):
            tell({"tensor": found[1]})
        elif level == _ERROR:
            complaints.append(line.strip())

    listener = lib.llama_log_callback(hear)
    lib.llama_log_set(listener, None)
    params = lib.llama_model_quantize_default_params()
    params.ftype, params.nthread = command["type"], command["threads"]
    params.max_buf_size = command["buffer_bytes"]
    (source,) = command["files"].values()
    paths = (f"/proc/self/fd/{file}".encode() for file in (source, command["output"]))
    if lib.llama_model_quantize(*paths, ctypes.byref(params)):
        if not os.fstatvfs(command["output"]).f_bavail:
            raise Problem("no_space", "no space is left on the server's disk for this file")
        why = _PATH.sub("the file", complaints[-1]) if complaints else "llama.cpp gave no reason"
        raise Problem("invalid", f"the model cannot be quantized: {why}"[:500], status=500)
    return {}


def _bindings() -> Any:
    """The ctypes bindings alone: the package's own __init__ loads far more than a quantiser needs."""
    spec = find_spec("llama_cpp")
    if spec is None:
        raise ModuleNotFoundError("llama-cpp-python is not installed.", name="llama_cpp")
    sys.modules["llama_cpp"] = module_from_spec(spec)
    return import_module("llama_cpp.llama_cpp")


if __name__ == "__main__":
    confinement.serve(partial(quantize, _bindings()))  # libraries first: their files may be out of reach afterwards
