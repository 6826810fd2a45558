"""The head of a GGUF file is hostile input: every mutation of a sound one is read or refused, within bounds."""

import contextlib
import struct
import time
import tracemalloc
from pathlib import Path

import pytest
from gguf import GGMLQuantizationType
from gguf.constants import GGML_QUANT_SIZES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.errors import Problem
from apps.registry import ggml, gguf
from apps.registry.gguf import LongArray, Tensor
from tests.gguf_files import tiny

SOUND = tiny(vocabulary=1100)


def read(data: bytes, *, verbose: bool = False) -> gguf.Gguf:
    return gguf.parse(data, size=len(data), verbose=verbose)


def header(*, version: int = 3, tensors: int = 0, pairs: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs)


def text(value: bytes, *, claims: int | None = None) -> bytes:
    return struct.pack("<Q", len(value) if claims is None else claims) + value


def tensor(name: bytes = b"t", shape: tuple[int, ...] = (32,), kind: int = 0, offset: int = 0) -> bytes:
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + dimensions + struct.pack("<IQ", kind, offset)


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sound.gguf"
    path.write_bytes(SOUND)
    found = gguf.read(path)
    assert (found.version, found.architecture, found.file_type, found.vocab_size) == (3, "llama", "Q4_K_M", 1100)
    assert found.metadata["llama.attention.layer_norm_rms_epsilon"] == 1e-06
    assert found.metadata["tokenizer.ggml.tokens"] == LongArray(1100)
    assert found.metadata["tiny.short"] == [1, 2, 3]
    assert found.tensors[0] == Tensor("token_embd.weight", "F32", (8, 1100), 8 * 1100 * 4)
    assert found.parameter_count == 8 * 1100 + 64 + 8
    assert found.tensor_bytes == 4 * found.parameter_count


def test_long_arrays_come_when_asked_for() -> None:
    metadata = read(SOUND, verbose=True).metadata
    assert metadata["tokenizer.ggml.tokens"][1099] == "token 1099"
    assert metadata["tokenizer.ggml.token_type"] == [1] * 1100


def test_scalars_hold_no_array_and_the_figures_a_placement_needs() -> None:
    scalars = read(SOUND).scalars()
    assert not any(isinstance(value, list | LongArray) for value in scalars.values())
    assert (scalars["vocab_size"], scalars["llama.block_count"], scalars["tensor_bytes"]) == (1100, 1, 4 * 8872)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "supplied file was not in GGUF format"),
        (b"hello blob", "supplied file was not in GGUF format"),
        (b"FUGG" + header()[4:], "big-endian"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        (header(version=1), "version 1 is not supported"),
        (header(version=0), "version 0 is not supported"),
        (header()[:-1], "cut short"),
        (header(pairs=2**63), "claims 9223372036854775808 metadata keys"),
        (header(tensors=2**40), "claims 1099511627776 tensors"),
        (header(pairs=1) + text(b"k", claims=2**62), "holds a text of"),
        (header(pairs=1) + text(b"k") + struct.pack("<I", 77), "value type 77"),
        (header(pairs=1) + text(b"k") + struct.pack("<IIQ", 9, 9, 1), "arrays inside arrays"),
        (header(pairs=1) + text(b"k") + struct.pack("<IIQ", 9, 8, 2**60), "cut short"),
        (header(pairs=1) + text(b"k") + struct.pack("<IIQ", 9, 4, 2**62), "cut short"),
        (header(pairs=1) + text(b"k") + struct.pack("<I", 8) + text(b"", claims=2**63), "holds a text of"),
        (header(pairs=2) + 2 * (text(b"k") + struct.pack("<IB", 0, 1)), "is there twice"),
        (header(pairs=1) + text(b"general.alignment") + struct.pack("<II", 4, 33), "no power of two"),
        (header(pairs=1) + text(b"general.alignment") + struct.pack("<II", 4, 0), "no power of two"),
        (header(tensors=1) + tensor(shape=(1,) * 5), "has 5 dimensions"),
        (header(tensors=1) + tensor(shape=(2**40, 2**40)), "cannot have the shape"),
        (header(tensors=1) + tensor(shape=(0,)), "cannot have the shape"),
        (header(tensors=1) + tensor(shape=(33,), kind=2), "cannot have the shape"),
        (header(tensors=1) + tensor(kind=99), "unknown type 99"),
        (header(tensors=1) + tensor(), "lies outside"),
        (header(tensors=1) + tensor(offset=2**63) + b"\0" * 999, "lies outside"),
        (header(tensors=1) + tensor(offset=1) + b"\0" * 999, "lies outside"),
        (header(tensors=1) + tensor(name=b"n" * 300), "holds a text of 300"),
    ],
)
def test_a_damaged_head_is_refused_with_a_sentence(data: bytes, error: str) -> None:
    with pytest.raises(Problem, match=error):
        read(data)


def test_a_file_that_is_cut_short_is_refused() -> None:
    with pytest.raises(Problem, match="lies outside"):
        read(SOUND[:-64])


def test_an_empty_file_is_no_gguf(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    with pytest.raises(Problem, match="not in GGUF format"):
        gguf.read(path)


def test_texts_are_bounded_in_sum() -> None:
    value = struct.pack("<I", 8) + text(b"x" * gguf.MAX_STRING_BYTES)
    pairs = b"".join(text(b"k%d" % number) + value for number in range(4))
    with pytest.raises(Problem, match="bytes of texts"):
        read(header(pairs=4) + pairs)


def test_numbers_that_json_has_not_are_left_out_and_nul_is_replaced() -> None:
    pairs = text(b"nan") + struct.pack("<If", 6, float("nan")) + text(b"nul") + struct.pack("<I", 8) + text(b"a\0b")
    assert read(header(pairs=2) + pairs).metadata == {"nan": None, "nul": "a\ufffdb"}


def test_the_types_are_ggmls() -> None:
    for kind, (block, size) in GGML_QUANT_SIZES.items():
        known = ggml.TYPES[int(kind)]
        assert (known.name, known.block) == (kind.name, block)
        assert known.size == (36 if kind == GGMLQuantizationType.Q8_1 else size)  # the package's is out of date


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    edits=st.lists(st.tuples(st.integers(0, 900), st.binary(min_size=1, max_size=9)), min_size=1, max_size=6),
    keep=st.integers(0, len(SOUND)),
    verbose=st.booleans(),
)
def test_a_mutated_head_is_read_or_refused(edits: list[tuple[int, bytes]], keep: int, verbose: bool) -> None:
    data = bytearray(SOUND[: max(keep, 1000)])
    for position, change in edits:
        data[position : position + len(change)] = change
    _read_or_refuse(bytes(data), verbose=verbose)


@settings(max_examples=200, deadline=None)
@given(
    counts=st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
    | st.tuples(st.integers(0, 4), st.integers(0, 4)),
    rest=st.lists(
        st.binary(max_size=24)
        | st.builds(text, st.binary(max_size=9))
        | st.builds(
            lambda kind, count: struct.pack("<IIQ", 9, kind, count), st.integers(0, 13), st.integers(0, 2**64 - 1)
        ),
        max_size=12,
    ).map(b"".join),
)
def test_a_made_up_head_is_read_or_refused(counts: tuple[int, int], rest: bytes) -> None:
    _read_or_refuse(header(tensors=counts[0], pairs=counts[1]) + rest, verbose=True)


def _read_or_refuse(data: bytes, *, verbose: bool) -> None:
    tracemalloc.start()
    try:
        read(data, verbose=verbose)
    except Problem as problem:
        assert problem.code == "invalid"
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 64 * 2**20


@pytest.mark.parametrize("kind", [0, 8])
def test_the_largest_arrays_stay_within_bounds_of_time_and_memory(kind: int) -> None:
    """64 MiB of head, full of arrays as short as are kept, then of one as long as fits."""
    element = text(b"\xf0\x9f\xa6\x99") if kind == 8 else b"\1"
    short = struct.pack("<IIQ", 9, kind, 1000) + element * 1000
    body = b"".join(text(b"k%d" % number) + short for number in range(900))
    count = (gguf.MAX_HEAD_BYTES - 40_000_000) // len(element)
    long = text(b"long") + struct.pack("<IIQ", 9, kind, count) + element * count
    for data in (header(pairs=900) + body, header(pairs=1) + long):
        _read_or_refuse(data, verbose=False)
        began = time.monotonic()
        with contextlib.suppress(Problem):  # untraced: noting each allocation takes longer than reading
            read(data)
        assert time.monotonic() - began < 2
