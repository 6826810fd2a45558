"""Bodies on their way in: compressed or not, within bounds."""

import json

import pytest
import zstandard
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from apps.api import doors
from apps.errors import Problem

TEXT = json.dumps({"model": "m", "input": "Hello, world. " * 50}).encode()


def asked(body: bytes, encoding: str | None = "zstd") -> Request:
    headers = {"HTTP_CONTENT_ENCODING": encoding} if encoding is not None else {}
    return Request(APIRequestFactory().generic("POST", "/v1/responses", body, **headers))


def packed(data: bytes, *, sized: bool = True) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=sized).compress(data)


@pytest.mark.parametrize("encoding", [None, "identity", "Identity "])
def test_a_plain_body_is_what_it_is(encoding: str | None) -> None:
    assert doors.unpacked(asked(TEXT, encoding)) == TEXT


@pytest.mark.parametrize("encoding", ["zstd", "ZSTD"])
def test_a_zstd_body_is_decompressed(encoding: str) -> None:
    assert doors.unpacked(asked(packed(TEXT), encoding)) == TEXT
    assert doors.unpacked(asked(packed(TEXT, sized=False), encoding)) == TEXT


def test_several_frames_are_one_body() -> None:
    assert doors.unpacked(asked(packed(TEXT[:100]) + packed(TEXT[100:]))) == TEXT


def test_a_body_of_twenty_mebibytes_is_the_largest() -> None:
    most = b"x" * doors.MAX_UNPACKED
    assert doors.unpacked(asked(packed(most))) == most
    with pytest.raises(Problem, match="larger than 20 MiB") as refused:
        doors.unpacked(asked(packed(most + b"x")))
    assert refused.value.status == 413


def test_a_frame_that_wants_too_much_memory_is_refused() -> None:
    wide = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    packer = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    with pytest.raises(Problem, match="cannot be decompressed") as refused:
        doors.unpacked(asked(packer.compress(TEXT) + packer.flush()))
    assert refused.value.status == 400


@pytest.mark.parametrize("body", [b"x", TEXT, packed(TEXT)[:-9] + b"\0" * 9])
def test_what_is_no_zstd_is_refused(body: bytes) -> None:
    with pytest.raises(Problem, match="cannot be decompressed") as refused:
        doors.unpacked(asked(body))
    assert refused.value.status == 400


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd, gzip"])
def test_another_encoding_is_refused_by_name(encoding: str) -> None:
    with pytest.raises(Problem, match=f"Content-Encoding '{encoding}'") as refused:
        doors.unpacked(asked(TEXT, encoding))
    assert refused.value.status == 415
