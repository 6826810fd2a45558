"""Split GGUF files put together: byte for byte what was never split, or a sentence."""

from collections.abc import Callable
from pathlib import Path

import pytest

from apps.errors import Problem
from apps.registry import gguf, merging
from apps.registry.gguf import Gguf
from tests.gguf_files import tiny, tiny_parts

NAMES = [f"tiny-0000{number}-of-00003.gguf" for number in (1, 2, 3)]


@pytest.fixture
def written(tmp_path: Path) -> Callable[[dict[str, bytes]], list[Path]]:
    def write(parts: dict[str, bytes]) -> list[Path]:
        for name, data in parts.items():
            (tmp_path / name).write_bytes(data)
        return [tmp_path / name for name in parts]

    return write


def merged(paths: list[Path], name: str = "merged") -> bytes:
    target = paths[0].parent / name
    with target.open("xb", buffering=0) as output:
        merging.merge(paths, output=output, check=lambda: None)
    return target.read_bytes()


def heads(parts: dict[str, bytes]) -> dict[str, Gguf]:
    return {name: gguf.parse(data, size=len(data)) for name, data in parts.items()}


@pytest.mark.parametrize("tensors", [1, 2])
def test_the_parts_make_the_file_that_was_never_split(
    tensors: int, written: Callable[[dict[str, bytes]], list[Path]]
) -> None:
    parts = tiny_parts(tensors=tensors)
    assert len(parts) == 3 // tensors + (3 % tensors > 0)
    assert all(merging.is_part(head) for head in heads(parts).values())
    whole = merged(written(parts))
    one = gguf.parse(tiny(), size=len(tiny()), verbose=True)
    found = gguf.parse(whole, size=len(whole), verbose=True)
    assert (found.metadata, found.tensors) == (one.metadata, one.tensors)
    assert tensor_bytes(whole, written) == tensor_bytes(tiny(), written)


def tensor_bytes(data: bytes, written: Callable[[dict[str, bytes]], list[Path]]) -> list[bytes]:
    (path,) = written({"one.gguf": data})
    found, layout = gguf.read_laid_out(path)
    return [data[start : start + tensor.size] for tensor, start in zip(found.tensors, layout.starts, strict=True)]


def test_parts_are_ordered_by_their_number() -> None:
    parts = heads(tiny_parts(tensors=1))
    assert merging.in_order(dict(reversed(parts.items()))) == NAMES


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda parts: parts.pop(NAMES[1]), "all 3 parts are needed, and part 2 is not there"),
        (lambda parts: parts.pop(NAMES[2]), "all 3 parts are needed, and part 3 is not there"),
        (lambda parts: parts.update({"tiny.gguf": parts.pop(NAMES[0])}), "its name does not end in -00001-of-0000N"),
        (lambda parts: parts.update({NAMES[0]: parts[NAMES[1]]}), "says inside that it is another part"),
        (lambda parts: parts.update({f"other-{NAMES[0]}": parts.pop(NAMES[0])}), "must be named alike"),
    ],
)
def test_what_is_not_all_the_parts_of_one_model_is_refused(
    change: Callable[[dict[str, Gguf]], object], why: str
) -> None:
    parts = heads(tiny_parts(tensors=1))
    change(parts)
    with pytest.raises(Problem, match=why):
        merging.in_order(parts)


def test_parts_that_do_not_fit_together_are_refused(written: Callable[[dict[str, bytes]], list[Path]]) -> None:
    first, second, third = written(tiny_parts(tensors=1))
    with pytest.raises(Problem, match="a tensor is in it twice"):
        merged([first, second, second], "twice")
    with pytest.raises(Problem, match="it should have 3 tensors, and the parts have 2"):
        merged([first, third], "less")


def test_a_cancel_stops_it(written: Callable[[dict[str, bytes]], list[Path]]) -> None:
    paths = written(tiny_parts(tensors=1))

    def check() -> None:
        raise Problem("cancelled", "request canceled")

    with (paths[0].parent / "merged").open("xb", buffering=0) as output, pytest.raises(Problem, match="canceled"):
        merging.merge(paths, output=output, check=check)
