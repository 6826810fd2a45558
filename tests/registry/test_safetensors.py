"""The reader of safetensors meets files that lie."""

import json
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.errors import Problem
from apps.registry.conversion import safetensors
from apps.registry.conversion.source import Source
from tests.registry.checkpoints import safetensors as written

GOOD = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def read(path: Path, raw: bytes) -> dict[str, safetensors.Tensor]:
    path.write_bytes(raw)
    with path.open("rb") as file:
        return safetensors.read(file.fileno(), path.name)


def framed(header: Any, body: bytes = b"12345678") -> bytes:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(head).to_bytes(8, "little") + head + body


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    array = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
    found = read(tmp_path / "good", written({"a": array, "b": array.astype(numpy.float16)}))
    assert (found["a"].array() == array).all()
    assert (found["b"].dtype, found["b"].shape) == ("F16", (2, 3))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"1234567",
        b"\xff" * 8 + b"{}",
        (2**62).to_bytes(8, "little") + b"{}",
        framed(b"{}")[:-10],
        framed(b"[]"),
        framed(b"nonsense"),
        framed(b'{"a":' * 100_000),
        framed(b"[" * 100_000),
        framed({"a": 7}),
        framed({"a": {**GOOD, "dtype": "Q4"}}),
        framed({"a": {**GOOD, "dtype": ["F32"]}}),
        framed({"a": {**GOOD, "shape": [-2]}}),
        framed({"a": {**GOOD, "shape": [2.0]}}),
        framed({"a": {**GOOD, "shape": [True, 2]}}),
        framed({"a": {**GOOD, "shape": [1] * 9}}),
        framed({"a": {**GOOD, "shape": [2**40, 2**40]}}),
        framed({"a": {**GOOD, "shape": [3]}}),
        framed({"a": {**GOOD, "data_offsets": [0, 9]}}),
        framed({"a": {**GOOD, "data_offsets": [4, 12]}}),
        framed({"a": {**GOOD, "data_offsets": [8, 0]}}),
        framed({"a": {**GOOD, "data_offsets": [0]}}),
        framed({"a": {"dtype": "F32"}}),
        framed({"x" * 600: GOOD}),
    ],
)
def test_a_file_that_lies_is_refused_with_a_sentence(raw: bytes, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="is damaged or no safetensors file"):
        read(tmp_path / "bad", raw)


def test_numbers_that_are_no_floats_are_read_by_nobody(tmp_path: Path) -> None:
    found = read(tmp_path / "ints", written({"a": numpy.ones(2, dtype=numpy.int64)}))
    with pytest.raises(Problem, match="only F16, BF16 and F32"):
        found["a"].array()


@given(st.binary(max_size=200), st.integers(0, 300))
def test_no_bytes_make_it_stumble(tmp_path_factory: pytest.TempPathFactory, noise: bytes, cut: int) -> None:
    folder = tmp_path_factory.mktemp("noise")
    whole = written({"a": numpy.ones(8, dtype=numpy.float32)})
    for number, raw in enumerate((noise, framed(noise), whole[:cut] + noise)):
        try:
            tensors = read(folder / str(number), raw)
        except Problem as problem:
            assert problem.code == "invalid"
        else:
            assert all(tensor.array().size < 1000 for tensor in tensors.values() if tensor.dtype in safetensors.FLOATS)


def test_json_files_are_bounded_and_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("[1]")
    (tmp_path / "deep").write_text("[" * 100_000)
    with (tmp_path / "list").open("rb") as one, (tmp_path / "deep").open("rb") as other:
        source = Source({"list.json": one.fileno(), "deep.json": other.fileno()})
        assert source.value("list.json") == [1]
        assert source.json("absent.json") == {}
        for name, why in (("list.json", "is not a JSON object"), ("deep.json", "is not JSON")):
            with pytest.raises(Problem, match=why):
                source.json(name)
        with pytest.raises(Problem, match="longer than 10 bytes"):
            source.json("deep.json", limit=10)
