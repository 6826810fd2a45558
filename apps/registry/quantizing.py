"""Smaller numbers for a model: llama.cpp's quantiser, in a process of its own (wire contract, section 8)."""

import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any, Final

from apps.errors import Problem
from apps.registry import children
from apps.registry.gguf import Gguf

Report = Callable[..., None]
Check = Callable[[], None]

FILE_TYPES: Final = {"F32": 0, "F16": 1, "Q8_0": 7, "Q4_K_S": 14, "Q4_K_M": 15, "BF16": 32}  # llama_ftype
UNQUANTIZED: Final = ("F32", "F16", "BF16")
ONLY_UNQUANTIZED: Final = "quantization is only supported for F16, BF16 and F32 models"
FILLER: Final = "0000000000000000000"  # what Ollama says where a digest would stand
SAY_EVERY_BYTES: Final = 32 * 1024 * 1024

_MODULE = "apps.registry.quantizer"
_MAX_THREADS = 8
_BUFFER_BYTES = 1024**3
_MEMORY_BYTES = 4 * 1024**3  # the buffers above twice, threads, the head of the file


def named(wanted: str) -> str:
    """The canonical name of a type that was asked for: Q4_K means Q4_K_M."""
    name = wanted.upper()
    return "Q4_K_M" if name == "Q4_K" else name


def source_type(found: Gguf, said: str) -> str:
    """The type of a file's numbers: F32, F16 or BF16. `said` is its config's, which counts unless it is unknown.

    Raises Problem where the file is quantised already.
    """
    if not all(tensor.type in UNQUANTIZED for tensor in found.tensors) or said not in (*UNQUANTIZED, "", "unknown"):
        raise Problem("invalid", ONLY_UNQUANTIZED, status=500)
    sizes = {name: sum(it.size for it in found.tensors if it.type == name) for name in UNQUANTIZED}
    return said if said in UNQUANTIZED else max(sizes, key=lambda name: sizes[name])


def quantize(
    source: Path, found: Gguf, *, output: FileIO, before: str, wanted: str, report: Report, check: Check
) -> None:
    """Writes `source`, whose head is `found`, as `wanted` into `output`. The source stays as it is."""
    sizes = {tensor.name: tensor.size for tensor in found.tensors}
    told = _Told(report, f"quantizing {before} model to {wanted}", found.tensor_bytes)
    told.add(0)
    children.run(
        _MODULE,
        files={"model": source},
        output=output,
        output_bytes=2 * found.size + _MEMORY_BYTES,  # F16 -> F32 doubles it
        memory_bytes=_MEMORY_BYTES,
        heard=lambda name: told.add(sizes.get(name, 0)),
        check=check,
        type=FILE_TYPES[wanted],
        threads=max(1, min(_MAX_THREADS, (os.cpu_count() or 2) // 2)),
        buffer_bytes=_BUFFER_BYTES,
    )
    told.finish()
    report("verifying conversion")


class _Told:
    """Progress in bytes of the source, said now and then. A tensor is heard of when it begins."""

    def __init__(self, report: Report, status: str, total: int) -> None:
        self._report = report
        self._status = status
        self._total = total
        self._done = self._begun = 0
        self._said = -SAY_EVERY_BYTES

    def add(self, size: int) -> None:
        self._done += self._begun
        self._begun = size
        if self._done - self._said >= SAY_EVERY_BYTES:
            self._say(self._done)

    def finish(self) -> None:
        self._say(self._total)

    def _say(self, done: int) -> None:
        self._said = done
        fields: dict[str, Any] = {"digest": FILLER, "total": self._total, "completed": min(done, self._total)}
        self._report(self._status, **fields)
