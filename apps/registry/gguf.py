"""Reads the head of a GGUF file as hostile input: every length and count is bounded before it is used. Pure.

Format: magic, version, tensor count, key count, then key/value pairs, then tensor infos, then, from the next
multiple of `general.alignment`, the tensors' bytes (ggml's docs/gguf.md). Versions 2 and 3, little-endian. The file
is mapped, never read whole, and arrays longer than SHOWN_ELEMENTS are stepped over unless they are asked for.
"""

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.errors import Problem
from apps.registry import capabilities, ggml

NOT_GGUF = "supplied file was not in GGUF format"
SHOWN_ELEMENTS = 1024

MAX_HEAD_BYTES = 64 * 1024 * 1024  # largest seen in the wild: 16 MiB, for a vocabulary of 262,144
MAX_PAIRS = 8192
MAX_TENSORS = 32768
MAX_KEY_BYTES = 1024
MAX_TENSOR_NAME_BYTES = 256
MAX_STRING_BYTES = 2 * 1024 * 1024
MAX_TEXT_BYTES = 6 * 1024 * 1024  # of all strings, keys and short arrays that are kept
ELEMENT_BYTES = 64  # what an element of a short array may take in memory
MAX_ELEMENTS = 2_000_000  # of all long arrays that are asked for; what is beyond stays a LongArray
MAX_DIMENSIONS = 4
MAX_ALIGNMENT = 1024 * 1024

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY, _FLOAT32 = 8, 9, 6
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


@dataclass(frozen=True)
class LongArray:
    """An array that was stepped over."""

    count: int


@dataclass(frozen=True)
class Tensor:
    name: str
    type: str
    shape: tuple[int, ...]  # ggml's order, fastest first
    size: int  # bytes

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Gguf:
    """`metadata` keeps the file's keys and their order. Numbers that are not finite read as None."""

    version: int
    metadata: dict[str, Any]
    tensors: tuple[Tensor, ...]
    size: int

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    @property
    def parameter_count(self) -> int:
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def tensor_bytes(self) -> int:
        return sum(tensor.size for tensor in self.tensors)

    @property
    def file_type(self) -> str:
        return capabilities.quantization(self.metadata.get("general.file_type"))

    @property
    def vocab_size(self) -> int:
        tokens = self.metadata.get("tokenizer.ggml.tokens")
        return tokens.count if isinstance(tokens, LongArray) else len(tokens) if isinstance(tokens, list) else 0

    def scalars(self) -> dict[str, Any]:
        """The metadata without its arrays, with the two figures that a placement needs."""
        kept = {key: value for key, value in self.metadata.items() if not isinstance(value, list | LongArray)}
        return {**kept, "tensor_bytes": self.tensor_bytes, "vocab_size": self.vocab_size}


@dataclass(frozen=True)
class Layout:
    """Byte positions in a file: of each key with its value, of each tensor's info up to its offset, and where each
    tensor's bytes begin. Tensors begin at multiples of `alignment`."""

    alignment: int
    pairs: dict[str, slice]
    infos: tuple[slice, ...]
    starts: tuple[int, ...]


def read(path: Path, *, verbose: bool = False) -> Gguf:
    """Raises Problem("invalid") for whatever is not a sound GGUF file, OSError when it cannot be opened."""
    return read_laid_out(path, verbose=verbose)[0]


def read_laid_out(path: Path, *, verbose: bool = False) -> tuple[Gguf, Layout]:
    """As `read`, and where things are in the file."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size < 4:
            raise Problem("invalid", NOT_GGUF)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            return _parse(_Head(mapped, verbose), size)


def parse(data: "mmap.mmap | bytes", *, size: int, verbose: bool = False) -> Gguf:
    """`size` is the whole file's, in bytes; `data` may be its beginning only, if the head is in it."""
    return _parse(_Head(data, verbose), size)[0]


def _parse(head: "_Head", size: int) -> tuple[Gguf, Layout]:
    version = head.begin()
    tensors, pairs = head.count(MAX_TENSORS, "tensors"), head.count(MAX_PAIRS, "metadata keys")
    metadata = head.metadata(pairs)
    alignment = _alignment(metadata.get("general.alignment", 32))
    infos = [head.tensor() for _ in range(tensors)]
    start = aligned(head.position, alignment)
    for tensor, offset in infos:
        if offset % alignment or start + offset + tensor.size > size:
            raise Problem("invalid", f"the GGUF file is damaged or cut short: tensor {tensor.name!r} lies outside it")
    found = Gguf(version, metadata, tuple(tensor for tensor, _ in infos), size)
    return found, Layout(alignment, head.pairs, tuple(head.infos), tuple(start + offset for _, offset in infos))


def aligned(position: int, alignment: int) -> int:
    """The next multiple."""
    return -(-position // alignment) * alignment


def _alignment(value: Any) -> int:
    if not isinstance(value, int) or not 0 < value <= MAX_ALIGNMENT or value & (value - 1):
        raise Problem("invalid", "the GGUF file is damaged: its alignment is no power of two")
    return value


class _Head:
    """A cursor over the head. Every read goes through `take` or `_fixed`, which know the end."""

    def __init__(self, data: "mmap.mmap | bytes", verbose: bool) -> None:
        self.data = data
        self.end = min(len(data), MAX_HEAD_BYTES)
        self.position = 0
        self.text_left = MAX_TEXT_BYTES
        self.elements_left = MAX_ELEMENTS if verbose else 0
        self.pairs: dict[str, slice] = {}
        self.infos: list[slice] = []

    def begin(self) -> int:
        magic = self.data[:4]
        if magic not in (b"GGUF", b"FUGG"):
            raise Problem("invalid", NOT_GGUF)
        self.position = 4
        version = self._fixed(_U32)
        if magic == b"FUGG" or (version and not version & 0xFFFF):
            raise Problem("invalid", "big-endian GGUF files are not supported")
        if version not in (2, 3):
            raise Problem("invalid", f"GGUF version {version} is not supported")
        return version

    def count(self, limit: int, what: str) -> int:
        value = self._fixed(_U64)
        if value > limit:
            raise Problem("invalid", f"the GGUF file is damaged: it claims {value} {what}")
        return value

    def metadata(self, pairs: int) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        for _ in range(pairs):
            start = self.position
            key = self._kept_text(MAX_KEY_BYTES)
            if key in metadata:
                raise Problem("invalid", f"the GGUF file is damaged: key {key[:80]!r} is there twice")
            metadata[key] = self._value(self._fixed(_U32))
            self.pairs[key] = slice(start, self.position)
        return metadata

    def tensor(self) -> tuple[Tensor, int]:
        """A tensor and its offset from the beginning of the data."""
        start = self.position
        name = self._kept_text(MAX_TENSOR_NAME_BYTES)
        dimensions = self._fixed(_U32)
        if dimensions > MAX_DIMENSIONS:
            raise Problem("invalid", f"the GGUF file is damaged: tensor {name!r} has {dimensions} dimensions")
        shape = tuple(self._fixed(_U64) for _ in range(dimensions))
        kind = self._fixed(_U32)
        self.infos.append(slice(start, self.position))
        offset = self._fixed(_U64)
        return Tensor(name, *_measured(name, kind, shape)), offset

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._kept_text(MAX_STRING_BYTES)
        if kind == _ARRAY:
            return self._array()
        return self._scalars(kind, 1)[0]

    def _array(self) -> "list[Any] | LongArray":
        kind, count = self._fixed(_U32), self._fixed(_U64)
        smallest = 8 if kind == _STRING else _scalar_size(kind)
        if count > (self.end - self.position) // smallest:
            raise _cut_short()
        if count > SHOWN_ELEMENTS:
            if count > self.elements_left:
                return self._skip(kind, count)
            self.elements_left -= count
        else:
            self._charge(count * ELEMENT_BYTES)
        return self._strings(count) if kind == _STRING else self._scalars(kind, count)

    def _skip(self, kind: int, count: int) -> LongArray:
        if kind != _STRING:
            self._advance(count * _scalar_size(kind))
            return LongArray(count)
        position, end, data, length_of = self.position, self.end - 8, self.data, _U64.unpack_from
        for _ in range(count):  # half a million times in a usual file: kept bare
            if position > end:
                raise _cut_short()
            position += 8 + length_of(data, position)[0]
        if position > self.end:
            raise _cut_short()
        self.position = position
        return LongArray(count)

    def _strings(self, count: int) -> list[str]:
        if count > SHOWN_ELEMENTS:
            return [self._text(MAX_STRING_BYTES) for _ in range(count)]
        return [self._kept_text(MAX_STRING_BYTES) for _ in range(count)]

    def _scalars(self, kind: int, count: int) -> list[Any]:
        size = _scalar_size(kind)
        values = struct.unpack_from(f"<{count}{_SCALARS[kind]}", self.data, self._advance(size * count))
        if kind == _FLOAT32:
            return [_shortest(value) for value in values]
        return [value if math.isfinite(value) else None for value in values]

    def _kept_text(self, limit: int) -> str:
        before = self.position
        text = self._text(limit)
        self._charge(self.position - before)
        return text

    def _charge(self, size: int) -> None:
        self.text_left -= size
        if self.text_left < 0:
            raise Problem("invalid", f"the GGUF file holds more than {MAX_TEXT_BYTES} bytes of texts")

    def _text(self, limit: int) -> str:
        length = self._fixed(_U64)
        if length > limit:
            raise Problem("invalid", f"the GGUF file is damaged: it holds a text of {length} bytes")
        start = self._advance(length)
        # A NUL cannot be kept in a database's text, and no key or name has one.
        return bytes(self.data[start : start + length]).decode("utf-8", "replace").replace("\0", "\ufffd")

    def _fixed(self, layout: struct.Struct) -> int:
        value: int = layout.unpack_from(self.data, self._advance(layout.size))[0]
        return value

    def _advance(self, length: int) -> int:
        """Where the next `length` bytes begin, after checking that they are there."""
        start = self.position
        if length > self.end - start:
            raise _cut_short()
        self.position = start + length
        return start


def _cut_short() -> Problem:
    return Problem("invalid", "the GGUF file is damaged or cut short: its head ends too early or is too long")


def _scalar_size(kind: int) -> int:
    if kind not in _SCALARS:
        what = "arrays inside arrays" if kind == _ARRAY else f"value type {kind}"
        raise Problem("invalid", f"the GGUF file is damaged or too new: it has {what}")
    return struct.calcsize("<" + _SCALARS[kind])


def _measured(name: str, kind: int, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...], int]:
    """Name of the type, shape and size in bytes of a tensor."""
    if kind not in ggml.TYPES:
        raise Problem("invalid", f"tensor {name!r} has the unknown type {kind}; the file may be too new")
    label, block, block_size = ggml.TYPES[kind]
    elements = math.prod(shape)
    if not 0 < elements < 2**62 or shape[:1] and shape[0] % block:
        raise Problem("invalid", f"the GGUF file is damaged: tensor {name!r} cannot have the shape {list(shape)}")
    return label, shape, elements // block * block_size


def _shortest(value: float) -> float | None:
    """The shortest decimal that is this 32-bit float: 1e-06, not 9.999999974752427e-07."""
    if not math.isfinite(value):
        return None
    for digits in range(6, 9):
        rounded = float(f"{value:.{digits}g}")
        if _same_float32(rounded, value):
            return rounded
    return float(f"{value:.9g}")


def _same_float32(rounded: float, value: float) -> bool:
    try:
        return bool(struct.unpack("<f", struct.pack("<f", rounded))[0] == value)
    except OverflowError:  # rounding took the largest floats out of range
        return False
