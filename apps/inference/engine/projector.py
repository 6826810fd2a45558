"""libmtmd: reads images and encodes them as the rows that a model takes in the place of tokens. From lib.py."""

import ctypes
import hashlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from apps.errors import Problem
from apps.inference.engine import llama
from apps.inference.engine.backend import Tokens
from apps.inference.engine.lib import lib, log_callback, mtmd
from apps.inference.engine.loading import Load, LoadFailed
from apps.inference.engine.vision import BLIND, UNREADABLE, Piece, Rows, row_ids

# What the doors let pass. The library would try anything else as sound and as video, some of it in other programs.
FORMATS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
MROPE = "this model places images in more than one dimension (M-RoPE), which is not supported"
TOO_FINE = "an image takes more tokens of this model than are computed at once; load it with a larger num_batch"
_TEXT = 0  # MTMD_INPUT_CHUNK_TYPE_TEXT


class Projector:
    """The projector of one model. `bytes` is the size of its file.

    Images are encoded by whatever thread asks, with as many threads as the model has: one thread at a time.
    """

    def __init__(self, model: Any, load: Load, *, batch: int) -> None:
        assert load.projector is not None
        self._api, self._batch = mtmd(), batch
        self._width: int = lib.llama_model_n_embd_inp(model)
        self._api.mtmd_log_set(log_callback(), None)
        self._api.mtmd_helper_log_set(log_callback(), None)
        self.bytes = os.fstat(load.projector).st_size
        self._context = self._open(model, load, load.projector)
        self._marker: bytes = self._api.mtmd_get_marker(self._context)
        self._refusal = self._why_not()

    def read(self, image: bytes) -> "Look":
        """An image split and scaled as the model wants it. Raises Problem."""
        if self._refusal:
            raise Problem("invalid", self._refusal)
        if not image.startswith(FORMATS):
            raise Problem("invalid", UNREADABLE)
        look = Look(self._api, self._context, self._chunks(image), hashlib.sha256(image).digest(), self._width)
        if look.largest_whole > self._batch:
            look.close()
            raise Problem("invalid", TOO_FINE)
        return look

    def close(self) -> None:
        self._api.mtmd_free(self._context)
        self._context = None

    def _open(self, model: Any, load: Load, file: int) -> Any:
        params = self._api.mtmd_context_params_default()
        params.use_gpu = load.gpu_layers != 0
        params.print_timings = False
        params.n_threads = llama.threads(load)
        folder = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"  # the library takes paths alone
        try:
            context = self._api.mtmd_init_from_file(f"{folder}/{file}".encode(), model, params)
        finally:
            os.close(file)
        if not context:
            raise LoadFailed("the projector could not be loaded, or was made for another model")
        return context

    def _why_not(self) -> str:
        if not self._api.mtmd_support_vision(self._context):
            return BLIND
        return MROPE if self._api.mtmd_decode_use_mrope(self._context) else ""

    def _chunks(self, image: bytes) -> Any:
        api = self._api
        data = (ctypes.c_uint8 * len(image)).from_buffer_copy(image)
        bitmap = api.mtmd_helper_bitmap_init_from_buf(self._context, data, len(image), False)
        if not bitmap:
            raise Problem("invalid", UNREADABLE)
        marker = api.mtmd_input_text(
            text=self._marker, text_len=len(self._marker), add_special=False, parse_special=True
        )
        chunks = api.mtmd_input_chunks_init()
        bitmaps = (ctypes.c_void_p * 1)(bitmap)
        code = api.mtmd_tokenize(self._context, chunks, ctypes.byref(marker), bitmaps, 1)
        api.mtmd_bitmap_free(bitmap)
        if code:
            api.mtmd_input_chunks_free(chunks)
            raise Problem("invalid", UNREADABLE)
        return chunks


def beside(backend: llama.Llama, load: Load) -> Projector | None:
    """The projector of a model that has one. Raises LoadFailed."""
    return Projector(backend._model, load, batch=backend.batch) if load.projector is not None else None


class Look:
    """An image as the library's chunks. `largest_whole` is the most rows that one batch must hold."""

    def __init__(self, api: Any, context: Any, chunks: Any, digest: bytes, width: int) -> None:
        self._api, self._context, self._chunks = api, context, chunks
        self._digest, self._width = digest, width
        self.tokens: int = api.mtmd_helper_get_n_tokens(chunks)
        self.largest_whole = max((self._size(chunk) for chunk in self._each() if not self._is_causal(chunk)), default=0)

    def pieces(self) -> tuple[Piece, ...]:
        return tuple(self._piece(number, chunk) for number, chunk in enumerate(self._each()))

    def close(self) -> None:
        self._api.mtmd_input_chunks_free(self._chunks)
        self._chunks = None

    def _each(self) -> Iterator[Any]:
        for index in range(self._api.mtmd_input_chunks_size(self._chunks)):
            yield self._api.mtmd_input_chunks_get(self._chunks, index)

    def _piece(self, number: int, chunk: Any) -> Piece:
        if self._kind(chunk) == _TEXT:
            return self._words(chunk)
        if self._api.mtmd_encode_chunk(self._context, chunk):
            raise Problem("internal", "the model failed to encode an image")
        rows = self._size(chunk)
        address = self._api.mtmd_get_output_embd(self._context)
        values = np.ctypeslib.as_array(address, shape=(rows, self._width)).astype(np.float32, copy=True)
        return Rows(row_ids(self._digest, number, rows), values, self._is_causal(chunk))

    def _words(self, chunk: Any) -> Tokens:
        count = ctypes.c_size_t()
        address = self._api.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
        return np.ctypeslib.as_array(address, shape=(count.value,)).astype(np.int32, copy=True)

    def _kind(self, chunk: Any) -> int:
        return int(self._api.mtmd_input_chunk_get_type(chunk))

    def _size(self, chunk: Any) -> int:
        return int(self._api.mtmd_input_chunk_get_n_tokens(chunk))

    def _is_causal(self, chunk: Any) -> bool:
        return self._kind(chunk) == _TEXT or not self._api.mtmd_decode_use_non_causal(self._context, chunk)
