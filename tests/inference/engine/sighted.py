"""A tiny model that takes images, engines over it, and what llama.cpp's own helper makes of the same."""

import ctypes
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.inference.engine import llama, projector
from apps.inference.engine.eyes import Eyes
from apps.inference.engine.lib import lib, mtmd
from apps.inference.engine.loading import Load
from apps.inference.engine.sequence import Job
from apps.inference.engine.vision import Look, Piece, place
from apps.inference.types import Limits, Sampling
from tests.inference.engine import tiny
from tests.inference.engine.conftest import Bench

BEGIN = 1  # the vocabulary's own first token


Said = str | list[int] | bytes


def words(text: str | list[int]) -> list[int]:
    """Their tokens: a byte each."""
    return [3 + byte for byte in text.encode()] if isinstance(text, str) else text


class Sighted:
    """A loaded model with its projector. `load` is as it was given, its descriptors are closed."""

    def __init__(self, folder: Path, path: Path, *, kind: str = "llama", **load: Any) -> None:
        llama.log_to(lambda level, text: None)
        self.model_path, self.projector_path = tiny.write_model(folder / "model.gguf", kind=kind), path
        self.load = Load(
            os.open(self.model_path, os.O_RDONLY),
            **{"context": 128, "slots": 2, "batch": 64, "threads": 1, "gpu_layers": 0, **load},
            projector=os.open(path, os.O_RDONLY),
        )
        self.model = llama.Llama(self.load, progress=lambda fraction: None)
        real = projector.beside(self.model, self.load)
        assert real is not None
        self.projector = real

    def viewers(self, *, step_tokens: int = 8) -> "Viewers":
        """An engine that has nothing from an earlier one."""
        for slot in range(self.model.slots):
            self.model.clear(slot)
        return Viewers(self, step_tokens=step_tokens)


class Watched:
    """The projector, and which images it was asked to encode."""

    def __init__(self, real: projector.Projector) -> None:
        self.real = real
        self.encoded: list[bytes] = []

    def read(self, image: bytes) -> Look:
        return Noting(self.real.read(image), image, self.encoded)


class Noting:
    def __init__(self, look: Look, image: bytes, encoded: list[bytes]) -> None:
        self._look, self._image, self._encoded = look, image, encoded
        self.tokens = look.tokens

    def pieces(self) -> tuple[Piece, ...]:
        self._encoded.append(self._image)
        return self._look.pieces()

    def close(self) -> None:
        self._look.close()


class Viewers(Bench):
    """As a Bench, with images. `steps` are those of its backend, each a list of slot, start, length and of what."""

    def __init__(self, sighted: Sighted, *, step_tokens: int) -> None:
        self.recorder = Recorder(sighted.model)
        super().__init__(self.recorder, step_tokens=step_tokens)
        self.watched = Watched(sighted.projector)
        self.engine._eyes = Eyes(self.watched)

    def show(
        self, run: str, *said: Said, key: str = "alice", context: int = 0, penalty: float = 1.0, **limits: Any
    ) -> None:
        """Submit a prompt of texts and images, in this order."""
        images = [part for part in said if isinstance(part, bytes)]
        shown = iter(range(len(images)))
        tokens = [BEGIN]
        for part in said:
            tokens += [place(next(shown))] if isinstance(part, bytes) else words(part)
        self.engine.submit(
            Job(
                run,
                np.asarray(tokens, dtype=np.int32),
                key,
                sampling=Sampling(temperature=0, repeat_penalty=penalty),
                limits=Limits(**{"num_predict": 12, "num_keep": 0, **limits}),
                context=context,
                images=tuple(images),
            )
        )

    def arrive(self) -> None:
        """Wait until the images of what was submitted last are encoded."""
        self.engine._take_commands()
        deadline = time.monotonic() + 20
        while self.engine._commands.empty():
            assert time.monotonic() < deadline, "nothing came back"
            time.sleep(0.001)

    def look(self, run: str, *said: Said, **options: Any) -> tuple[int, ...]:
        """Run it to its end; the tokens of the answer."""
        self.show(run, *said, **options)
        self.until(run)
        assert self.ends[run].problem is None, self.ends[run].problem
        assert self.ends[run].output_ids
        return self.ends[run].output_ids


class Recorder:
    """A backend that keeps the chunks of each of its steps."""

    def __init__(self, model: llama.Llama) -> None:
        self._model = model
        self.chunks: list[list[Any]] = []

    def decode(self, chunks: Any) -> None:
        self.chunks.append(list(chunks))
        self._model.decode(chunks)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


class Reference:
    """libmtmd used as its own examples use it: one prompt with markers, evaluated by its helper."""

    def __init__(self, sighted: Sighted) -> None:
        self.api = mtmd()
        self.model = lib.llama_model_load_from_file(os.fsencode(sighted.model_path), lib.llama_model_default_params())
        params = lib.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch, params.n_threads = 192, 64, 64, 1
        self.context = lib.llama_init_from_model(self.model, params)
        wanted = self.api.mtmd_context_params_default()
        wanted.use_gpu, wanted.print_timings = False, False
        self.mtmd = self.api.mtmd_init_from_file(os.fsencode(sighted.projector_path), self.model, wanted)

    def chunks(self, text: str, *images: bytes) -> Any:
        bitmaps = (ctypes.c_void_p * len(images))(*map(self._bitmap, images))
        data = text.encode()
        asked = self.api.mtmd_input_text(text=data, text_len=len(data), add_special=True, parse_special=True)
        chunks = self.api.mtmd_input_chunks_init()
        assert not self.api.mtmd_tokenize(self.mtmd, chunks, ctypes.byref(asked), bitmaps, len(images))
        return chunks

    def rows(self, image: bytes) -> NDArray[np.float32]:
        """The embeddings of one image, by the older call that takes the image's tokens."""
        chunks = self.chunks("<__media__>", image)
        each = [self.api.mtmd_input_chunks_get(chunks, at) for at in range(self.api.mtmd_input_chunks_size(chunks))]
        (chunk,) = [chunk for chunk in each if self.api.mtmd_input_chunk_get_type(chunk) == 1]
        tokens = self.api.mtmd_input_chunk_get_tokens_image(chunk)
        assert not self.api.mtmd_encode(self.mtmd, tokens)
        shape = (self.api.mtmd_image_tokens_get_n_tokens(tokens), tiny.WIDTH)
        return np.ctypeslib.as_array(self.api.mtmd_get_output_embd(self.mtmd), shape).copy()

    def logits(self, text: str, *images: bytes) -> NDArray[np.float32]:
        """Of what comes behind the prompt."""
        past = ctypes.c_int32()
        chunks = self.chunks(text, *images)
        assert not self.api.mtmd_helper_eval_chunks(self.mtmd, self.context, chunks, 0, 0, 64, True, ctypes.byref(past))
        found = lib.llama_get_logits_ith(self.context, -1)
        return np.ctypeslib.as_array(found, (len(tiny.TOKENS),)).copy()

    def _bitmap(self, image: bytes) -> Any:
        data = (ctypes.c_uint8 * len(image)).from_buffer_copy(image)
        return self.api.mtmd_helper_bitmap_init_from_buf(self.mtmd, data, len(image), False)
