"""libmtmd: reads images and encodes them as the rows that a model takes in the place of tokens. From lib.py."""

import ctypes
import hashlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.errors import Problem
from apps.inference.engine import llama
from apps.inference.engine.backend import Tokens
from apps.inference.engine.lib import lib, log_callback, mtmd
from apps.inference.engine.loading import Load, LoadFailed
from apps.inference.engine.vision import BLIND, MOVING, UNREADABLE, Grid, Piece, Rows, row_ids

# What the doors let pass. The library would try anything else as sound and as video, some of it in other programs.
FORMATS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
UNPLACED = "this model numbers the places of an image in a way that is not supported"
TOO_FINE = "an image takes more tokens of this model than are computed at once; load it with a larger num_batch"
_TEXT = 0  # MTMD_INPUT_CHUNK_TYPE_TEXT
_SECTIONS = [0, 2, 1, 3]  # of mtmd_decoder_pos, in the order of llama.cpp's sections: time, height, width and one more


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
        self._sees = bool(self._api.mtmd_support_vision(self._context))

    def read(self, image: bytes) -> "Look":
        """An image split and scaled as the model wants it. Raises Problem."""
        if not self._sees:
            raise Problem("invalid", BLIND)
        if not image.startswith(FORMATS):
            raise Problem("invalid", UNREADABLE)
        look = Look(self._api, self._context, self._chunks(image), hashlib.sha256(image).digest(), self._width)
        if refusal := self._refused(look):
            look.close()
            raise Problem("invalid", refusal)
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

    def _refused(self, look: "Look") -> str:
        if look.largest_whole > self._batch:
            return TOO_FINE
        return "" if look.placed else UNPLACED

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
    """An image as the library's chunks. `largest_whole` is the most rows that one batch must hold; `placed` is False
    where the places of its rows depend on more than where it begins."""

    def __init__(self, api: Any, context: Any, chunks: Any, digest: bytes, width: int) -> None:
        self._api, self._context, self._chunks = api, context, chunks
        self._digest, self._width = digest, width
        self.tokens: int = api.mtmd_helper_get_n_tokens(chunks)
        self.largest_whole = max((self._size(chunk) for chunk in self._each() if not self._is_causal(chunk)), default=0)
        self.placed = all(self._moves(chunk) for chunk in self._each() if self._has_grid(chunk))

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
        grid = Grid(self._places(chunk), self._api.mtmd_input_chunk_get_n_pos(chunk)) if self._has_grid(chunk) else None
        return Rows(row_ids(self._digest, number, rows), values, self._is_causal(chunk), grid)

    def _words(self, chunk: Any) -> Tokens:
        count = ctypes.c_size_t()
        address = self._api.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
        return np.ctypeslib.as_array(address, shape=(count.value,)).astype(np.int32, copy=True)

    def _has_grid(self, chunk: Any) -> bool:
        return self._kind(chunk) != _TEXT and bool(self._api.mtmd_decode_use_mrope(self._context))

    def _places(self, chunk: Any, *, begin: int = 0) -> NDArray[np.int32]:
        """The positions of the rows of an image that begins there, as a Grid has them."""
        places = (self._api.mtmd_decoder_pos * self._size(chunk))()
        image = self._api.mtmd_input_chunk_get_tokens_image(chunk)
        self._api.mtmd_helper_image_get_decoder_pos(image, begin, places)
        fields = np.frombuffer(places, dtype=np.int32).reshape(-1, len(_SECTIONS))  # t, x, y, z of each
        return np.ascontiguousarray(fields[:, _SECTIONS].T)

    def _moves(self, chunk: Any) -> bool:
        """Whether an image that begins one position later has all its places one later."""
        moved = self._places(chunk, begin=1) - self._places(chunk)
        return bool((moved[:MOVING] == 1).all() and not moved[MOVING:].any())

    def _kind(self, chunk: Any) -> int:
        return int(self._api.mtmd_input_chunk_get_type(chunk))

    def _size(self, chunk: Any) -> int:
        return int(self._api.mtmd_input_chunk_get_n_tokens(chunk))

    def _is_causal(self, chunk: Any) -> bool:
        return self._kind(chunk) == _TEXT or not self._api.mtmd_decode_use_non_causal(self._context, chunk)
