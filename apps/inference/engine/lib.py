"""llama.cpp's C interface: the one file that imports llama_cpp, and the place where its log ends. No Django."""

import sys
from collections import deque
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any

_ERROR = 4  # GGML_LOG_LEVEL_ERROR
_complaints: deque[str] = deque(maxlen=4)


def _low_level() -> Any:
    """The ctypes bindings alone.

    The package's own __init__ also loads its high-level class, and with that numpy, diskcache and Django: 26 MB
    and 0.2 s in each process that needs none of them.
    """
    if "llama_cpp" in sys.modules:
        return import_module("llama_cpp.llama_cpp")
    spec = find_spec("llama_cpp")
    if spec is None:
        raise ModuleNotFoundError("llama-cpp-python is not installed.", name="llama_cpp")
    sys.modules["llama_cpp"] = module_from_spec(spec)
    try:
        return import_module("llama_cpp.llama_cpp")
    finally:
        del sys.modules["llama_cpp"]  # whoever imports the package later gets all of it


lib = _low_level()


@lib.llama_log_callback  # type: ignore[untyped-decorator]
def _listen(level: int, text: bytes, _data: object) -> None:
    if level == _ERROR:
        _complaints.append(text.decode("utf-8", "replace").strip())


lib.llama_log_set(_listen, None)


def last_complaint() -> str:
    """llama.cpp's latest error line, or an empty text. It may name a path: not for a caller as it is."""
    return _complaints[-1] if _complaints else ""
