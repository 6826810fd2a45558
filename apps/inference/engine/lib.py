"""llama.cpp's C interface: the one file that imports llama_cpp, and the place where its logs go through. No Django."""

import ctypes
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any

_ERROR = 4  # GGML_LOG_LEVEL_ERROR
_complaints: deque[str] = deque(maxlen=4)

Log = Callable[[int, str], None]


def _low_level(name: str) -> Any:
    """The ctypes bindings of one library alone.

    The package's own __init__ also loads its high-level class, and with that numpy, diskcache and Django: 26 MB
    and 0.2 s in each process that needs none of them.
    """
    if "llama_cpp" in sys.modules:
        return import_module(f"llama_cpp.{name}")
    spec = find_spec("llama_cpp")
    if spec is None:
        raise ModuleNotFoundError("llama-cpp-python is not installed.", name="llama_cpp")
    sys.modules["llama_cpp"] = module_from_spec(spec)
    try:
        return import_module(f"llama_cpp.{name}")
    finally:
        del sys.modules["llama_cpp"]  # whoever imports the package later gets all of it


lib = _low_level("llama_cpp")


def mtmd() -> Any:
    """libmtmd, which reads images; loaded with the first call, where somebody needs it."""
    return _low_level("mtmd_cpp")


@lib.llama_log_callback  # type: ignore[untyped-decorator]
def _listen(level: int, text: bytes, _data: object) -> None:
    if level == _ERROR:
        _complaints.append(text.decode("utf-8", "replace").strip())


lib.llama_log_set(_listen, None)
_log: Any = _listen  # llama.cpp keeps its address: it must live as long as the process


def log_to(sink: Log) -> None:
    """Send every line of llama.cpp's and ggml's log to `sink(level, text)`: level 1 is debug, 2 information, 3 a
    warning, 4 an error, and 5 continues the line before."""
    global _log
    _log = lib.llama_log_callback(lambda level, text, _: sink(level, text.decode(errors="replace")))
    lib.llama_log_set(_log, None)


def log_callback() -> Any:
    """Where llama.cpp's log goes, for a library that has one of its own. Valid until the next `log_to`."""
    return _log


_HELD = ctypes.PyDLL(lib._lib._name)


def held(name: str) -> Any:
    """The same function, called without releasing the interpreter: for small calls in the middle of a step, each of
    which would be a chance for another thread to take over."""
    plain = getattr(lib, name)
    function = getattr(_HELD, name)
    function.argtypes, function.restype = plain.argtypes, plain.restype
    return function


def held_logits() -> Any:
    """llama_get_logits as `held` gives it, its result as an address."""
    function = _HELD.llama_get_logits
    function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_void_p
    return function


@contextmanager
def opened(descriptor: int) -> Iterator[Any]:
    """A C FILE over an open descriptor, which is closed with it."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fdopen.restype = ctypes.c_void_p
    libc.fclose.argtypes = [ctypes.c_void_p]
    file = libc.fdopen(descriptor, b"rb")
    try:
        yield file
    finally:
        libc.fclose(file)


def last_complaint() -> str:
    """llama.cpp's latest error line, or an empty text. It may name a path: not for a caller as it is."""
    return _complaints[-1] if _complaints else ""
