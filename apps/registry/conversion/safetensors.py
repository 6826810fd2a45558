"""The safetensors format: 8 bytes of header length, a JSON header, then the tensors' bytes (its README). Pure.

Every length, offset, type and shape is checked against the file before anything is allocated; tensors are views of
the mapped file, so that a model may be larger than the memory.
"""

import json
import math
import mmap
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy
from numpy.typing import NDArray

from apps.errors import Problem

MAX_HEADER_BYTES = 32 * 1024 * 1024  # the largest seen in the wild: 5 MiB
MAX_TENSORS = 65536
MAX_NAME_BYTES = 512
MAX_DIMENSIONS = 8
FLOATS = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # numpy has no BF16: its bits are kept
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "BOOL": 1}
_BYTES |= {f"{sign}{bits}": bits // 8 for sign in "IU" for bits in (8, 16, 32, 64)}


@dataclass(frozen=True)
class Tensor:
    """`shape` is in the file's order, slowest first; `start` is in bytes from the beginning of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    data: mmap.mmap

    def array(self) -> NDArray[Any]:
        """The numbers as they lie in the file; those of BF16 as unsigned 16-bit integers."""
        if self.dtype not in FLOATS:
            raise Problem(
                "invalid", f"tensor {self.name!r} is of type {self.dtype}; only F16, BF16 and F32 can be read"
            )
        flat = numpy.frombuffer(self.data, dtype=FLOATS[self.dtype], count=math.prod(self.shape), offset=self.start)
        return flat.reshape(self.shape)


def read(file: int, name: str) -> dict[str, Tensor]:
    """The tensors of an open file by their names. Raises Problem("invalid") for whatever is not sound."""
    try:
        data = mmap.mmap(file, 0, access=mmap.ACCESS_READ)
    except ValueError:  # an empty file cannot be mapped
        raise damaged(name, "it is empty") from None
    header, begin = _header(data, name)
    entries = {key: value for key, value in header.items() if key != "__metadata__"}
    if len(entries) > MAX_TENSORS:
        raise damaged(name, f"it claims {len(entries)} tensors")
    return {key: _tensor(key, value, begin, data, name) for key, value in entries.items()}


def damaged(name: str, why: str) -> Problem:
    return Problem("invalid", f"{name} is damaged or no safetensors file: {why}")


def _header(data: mmap.mmap, name: str) -> tuple[dict[str, Any], int]:
    """The header and where the tensors' bytes begin."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= length <= min(MAX_HEADER_BYTES, len(data) - 8):
        raise damaged(name, "its header does not fit")
    try:
        header = json.loads(data[8 : 8 + length].decode("utf-8"))
    except (ValueError, RecursionError):
        raise damaged(name, "its header is not JSON") from None
    if not isinstance(header, dict):
        raise damaged(name, "its header is no object")
    return header, 8 + length


def _tensor(key: str, value: Any, begin: int, data: mmap.mmap, name: str) -> Tensor:
    if len(key.encode("utf-8", "replace")) > MAX_NAME_BYTES or not isinstance(value, dict):
        raise damaged(name, "a tensor has no sound entry")
    dtype, shape, offsets = (value.get(word) for word in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in _BYTES:
        raise damaged(name, f"tensor {key!r} has an unknown type")
    if not _whole(shape, MAX_DIMENSIONS) or not _whole(offsets, 2) or len(offsets) != 2:
        raise damaged(name, f"tensor {key!r} has no sound shape or place")
    start, end = offsets
    if not start <= end <= len(data) - begin or math.prod(shape) * _BYTES[dtype] != end - start:
        raise damaged(name, f"tensor {key!r} does not lie where it says")
    return Tensor(key, dtype, tuple(shape), begin + start, data)


def _whole(value: Any, most: int) -> TypeGuard[list[int]]:
    """Whether this is a short list of whole numbers, none of them negative."""
    return (
        isinstance(value, list)
        and len(value) <= most
        and all(isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 2**48 for item in value)
    )
