"""Split GGUF files -> one file (contract, section 8.5; llama.cpp's gguf-split writes them). No Django.

A model larger than a host takes in one file is published in parts named `<prefix>-00001-of-0000N.gguf`. Each part is a
GGUF file with `split.no` (from 0), `split.count` and `split.tensors.count`; the first one has all of the metadata.
"""

import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final

from apps.errors import Problem
from apps.registry import gguf
from apps.registry.gguf import Gguf

CHUNK_BYTES: Final = 1024 * 1024
_PREFIX = "split."
_NAME = re.compile(r"(?P<prefix>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)


def is_part(found: Gguf) -> bool:
    return found.metadata.get("split.count", 0) not in (0, 1)


def in_order(parts: Mapping[str, Gguf]) -> list[str]:
    """The names of the parts of one model, first to last. Raises Problem where they are not all there, or not one's."""
    numbers: dict[int, str] = {}
    wholes: set[tuple[str, int]] = set()
    for name, found in parts.items():
        match = _NAME.fullmatch(name)
        if not match:
            raise _wrong(f"{name} is a part of one, and its name does not end in -00001-of-0000N.gguf")
        number, count = int(match["number"]), int(match["count"])
        if (found.metadata.get("split.no"), found.metadata.get("split.count")) != (number - 1, count):
            raise _wrong(f"{name} says inside that it is another part than its name says")
        numbers[number] = name
        wholes.add((match["prefix"].lower(), count))
    if len(wholes) != 1:
        raise _wrong("the parts of one model must be named alike")
    ((_, count),) = wholes
    missing = [number for number in range(1, count + 1) if number not in numbers]
    if missing:
        raise _wrong(f"all {count} parts are needed, and part {missing[0]} is not there")
    return [numbers[number] for number in range(1, count + 1)]


def merge(parts: Sequence[Path], *, output: FileIO, check: Callable[[], None]) -> None:
    """Writes the one file that `parts`, in order, were made of. `check` is called now and then and may raise.

    Raises Problem where the parts do not fit together.
    """
    laid_out = [gguf.read_laid_out(path) for path in parts]
    first, layout = laid_out[0]
    tensors = [tensor for found, _ in laid_out for tensor in found.tensors]
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise _wrong("a tensor is in it twice")
    if (wanted := first.metadata.get("split.tensors.count", len(tensors))) != len(tensors):
        raise _wrong(f"it should have {wanted} tensors, and the parts have {len(tensors)}")
    pairs = [place for key, place in layout.pairs.items() if not key.startswith(_PREFIX)]
    _write(output, b"GGUF" + struct.pack("<IQQ", first.version, len(tensors), len(pairs)))
    with parts[0].open("rb") as file:
        for place in pairs:
            _write(output, _read(file, place))
    offset = 0
    for path, (found, places) in zip(parts, laid_out, strict=True):
        with path.open("rb") as file:
            for tensor, place in zip(found.tensors, places.infos, strict=True):
                _write(output, _read(file, place) + struct.pack("<Q", offset))
                offset = gguf.aligned(offset + tensor.size, layout.alignment)
    for path, (found, places) in zip(parts, laid_out, strict=True):
        with path.open("rb") as file:
            for tensor, start in zip(found.tensors, places.starts, strict=True):
                _pad(output, layout.alignment)
                for chunk in _chunks(file, start, tensor.size):
                    check()
                    _write(output, chunk)
    _pad(output, layout.alignment)


def _read(file: BinaryIO, place: slice) -> bytes:
    file.seek(place.start)
    return file.read(place.stop - place.start)


def _chunks(file: BinaryIO, start: int, size: int) -> Iterator[bytes]:
    file.seek(start)
    while size:
        chunk = file.read(min(size, CHUNK_BYTES))
        if not chunk:
            raise _wrong("a part became shorter while it was read")
        size -= len(chunk)
        yield chunk


def _pad(output: FileIO, alignment: int) -> None:
    position = output.tell()
    _write(output, b"\0" * (gguf.aligned(position, alignment) - position))


def _write(output: FileIO, data: bytes) -> None:
    """An unbuffered file may take less than it is given."""
    rest = memoryview(data)
    while rest:
        rest = rest[output.write(rest) :]


def _wrong(why: str) -> Problem:
    return Problem("invalid", f"the split GGUF file cannot be put together: {why}")
