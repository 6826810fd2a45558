"""llama.cpp on a file, as plainly as can be: whether what was converted computes what it should."""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy

from apps.inference.engine.lib import last_complaint, lib

CONTEXT = 512


class Loaded:
    def __init__(self, path: Path, *, embedding: bool) -> None:
        params = lib.llama_model_default_params()
        params.n_gpu_layers = 0
        self._model = lib.llama_model_load_from_file(str(path).encode(), params)
        assert self._model, last_complaint()
        context = lib.llama_context_default_params()
        context.n_ctx = context.n_batch = context.n_ubatch = CONTEXT
        context.n_threads = context.n_threads_batch = 2
        context.embeddings = embedding
        self._context = lib.llama_init_from_model(self._model, context)
        assert self._context, last_complaint()
        self.vocabulary = lib.llama_model_get_vocab(self._model)
        self.size: int = lib.llama_vocab_n_tokens(self.vocabulary)
        self.width: int = lib.llama_model_n_embd(self._model)

    def tokens(self, text: str, *, special: bool = False, begin: bool = True) -> list[int]:
        raw = text.encode()
        found = (ctypes.c_int32 * (len(raw) + 16))()
        count = lib.llama_tokenize(self.vocabulary, raw, len(raw), found, len(found), begin, special)
        return list(found[:count])

    def logits(self, tokens: Sequence[int]) -> Any:
        """One row for each token."""
        self._decode(tokens)
        rows = [lib.llama_get_logits_ith(self._context, index) for index in range(len(tokens))]
        return numpy.stack([numpy.ctypeslib.as_array(row, (self.size,)).copy() for row in rows])

    def vector(self, tokens: Sequence[int]) -> Any:
        """The pooled embedding, of length 1."""
        self._decode(tokens)
        raw = lib.llama_get_embeddings_seq(self._context, 0)
        vector = numpy.ctypeslib.as_array(raw, (self.width,)).copy()
        return vector / numpy.linalg.norm(vector)

    def generate(self, text: str, count: int) -> list[int]:
        """The likeliest tokens, one after the other."""
        tokens = self.tokens(text)
        begun = len(tokens)
        while len(tokens) < begun + count:
            tokens.append(int(self.logits(tokens)[-1].argmax()))
        return tokens[begun:]

    def apply(self, adapter: Path) -> None:
        """Adds a LoRA at full strength to what is computed from now on."""
        lora = lib.llama_adapter_lora_init(self._model, str(adapter).encode())
        assert lora, last_complaint()
        assert lib.llama_set_adapters_lora(self._context, (type(lora) * 1)(lora), 1, (ctypes.c_float * 1)(1.0)) == 0

    def ends(self, token: int) -> bool:
        return bool(lib.llama_vocab_is_eog(self.vocabulary, token))

    def close(self) -> None:
        lib.llama_free(self._context)
        lib.llama_model_free(self._model)

    def _decode(self, tokens: Sequence[int]) -> None:
        lib.llama_memory_clear(lib.llama_get_memory(self._context), True)
        batch = lib.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for index, token in enumerate(tokens):
            batch.token[index], batch.pos[index], batch.logits[index] = token, index, True
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
        assert lib.llama_decode(self._context, batch) == 0, last_complaint()
        lib.llama_batch_free(batch)


@contextmanager
def loaded(path: Path, *, embedding: bool = False) -> Iterator[Loaded]:
    model = Loaded(path, embedding=embedding)
    try:
        yield model
    finally:
        model.close()
