"""Texts to vectors: an embedding context of its own beside the generation context, over the same weights.

Pooling is the GGUF's. Where it names none, as generative models do, it is the last token's: what Ollama's runner took,
and the only token that has seen the whole text.

A causal model that takes the last token computes a long text in several batches. All others (BERT looks both ways; a
mean is taken within one batch) need a text in one piece, so their batch grows to the longest text that comes. In an
embedding context llama.cpp keeps logits of every token of a batch: 150 MB for 128 tokens of a large vocabulary, hence
the small first batch.
"""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.errors import Problem
from apps.inference.engine import adapters, llama
from apps.inference.engine.backend import Chunk, DecodeFailed, Tokens
from apps.inference.engine.lib import lib as api
from apps.inference.engine.loading import Load, LoadFailed

SEQUENCES = 64  # texts in one batch
META_BYTES = 64
NO_NUMBERS = "embedding contains NaN or Inf values"

Vector = NDArray[np.float32]


class Embedder:
    """The embedding context of one model, made with the first text and made anew for one that does not fit.

    `batch` is the most tokens of one decode, `sequences` the most texts; with `whole` a text may not be cut into
    several. `nothing` stands for a text of no tokens. Called from the thread that decodes (see llama.Llama).

    `load` brings descriptors of the adapters' files that are this context's own, read when it is first made.
    """

    def __init__(self, model: Any, load: Load, *, batch: int) -> None:
        self._model, self._load = model, load
        self._adapters: list[Any] | None = None
        self.nothing = _empty_text(model)
        self.width: int = api.llama_model_n_embd_out(model)
        self._pooling = _pooling(model)
        recurrent = api.llama_model_is_recurrent(model) or api.llama_model_is_hybrid(model)
        self.whole = self._pooling != api.LLAMA_POOLING_TYPE_LAST or not _is_causal(model)
        # llama.cpp aborts unless the tokens of a batch are a multiple of its texts: both are powers of two.
        self.batch = _rounded(batch) if self.whole else 1 << (min(batch, load.context).bit_length() - 1)
        self.sequences = 1 if recurrent else min(SEQUENCES, self.batch)  # a recurrent state is large
        self._cells = 0
        self._context: Any = None
        self._memory: Any = None

    def takes(self, length: int) -> bool:
        """Whether a text of so many tokens fits the context that there is."""
        return self._context is not None and length <= (self.batch if self.whole else self._cells - self.batch)

    def prepare(self, length: int) -> None:
        """Make a context that takes a text of so many tokens. Call with no text half done. Raises Problem."""
        self.close()
        if self.whole:
            self._cells = self.batch = max(self.batch, _rounded(length))
        else:
            self._cells = max(self._cells, _rounded(length) + self.batch)
        self._open()

    def compute(self, chunks: Sequence[Chunk]) -> list[Vector]:
        """One decode. The vectors of the chunks that end their text (`sample`), in order and not yet normalised.

        Raises DecodeFailed; then every text that was begun must begin again.
        """
        self._batch.fill(chunks)
        compute = api.llama_decode if self._memory else api.llama_encode
        if code := compute(self._context, self._batch.native):
            self.close()
            raise DecodeFailed(f"the model failed to compute embeddings (code {code})")
        return [self._take(chunk.slot) for chunk in chunks if chunk.sample]

    def forget(self, slot: int) -> None:
        """Drop a text that is half done."""
        if self._memory:
            api.llama_memory_seq_rm(self._memory, slot, -1, -1)

    def close(self) -> None:
        """Give the memory back; the next `prepare` takes it again."""
        if self._context is not None:
            api.llama_free(self._context)
        self._context = self._memory = None

    def warm_up(self) -> None:
        """One text now, so that the first one does not wait for the weights to be read from disk."""
        self.prepare(len(self.nothing))
        self.compute([Chunk(0, 0, self.nothing, True)])

    def _take(self, slot: int) -> Vector:
        address = api.llama_get_embeddings_seq(self._context, slot)
        if not address:
            raise DecodeFailed("the model gave no embedding")
        vector: Vector = np.ctypeslib.as_array(address, shape=(self.width,)).copy()
        self.forget(slot)
        return vector

    def _open(self) -> None:
        """Raises Problem."""
        try:
            if self._adapters is None:
                self._adapters = adapters.read(self._model, self._load.adapters)
            self._make()
            adapters.apply(self._context, self._adapters, self._load.adapters)
        except LoadFailed as error:
            self.close()
            raise Problem("unavailable", str(error)) from error

    def _make(self) -> None:
        params = api.llama_context_default_params()
        params.n_ctx, params.n_seq_max = self._cells, self.sequences
        params.n_batch = params.n_ubatch = self.batch
        params.n_threads = params.n_threads_batch = llama.threads(self._load)
        params.embeddings, params.pooling_type = True, self._pooling
        params.type_k = params.type_v = llama.KV_TYPES[self._load.kv_type]
        params.kv_unified = True
        params.flash_attn_type = llama.FLASH[self._load.flash]
        self._context = api.llama_init_from_model(self._model, params)
        if not self._context:
            self._context = None
            raise LoadFailed(f"there is not enough memory to embed texts of {self._cells} tokens")
        self._memory = api.llama_get_memory(self._context)
        self._batch = _Batch(self.batch)


class Model:
    """A model that only embeds: the weights that the generation context would else bring, and nothing beside them."""

    def __init__(self, load: Load, *, progress: Callable[[float], None]) -> None:
        self.handle = llama._open_model(load, progress)
        self.slots = load.slots
        self.context = min(load.context, api.llama_model_n_ctx_train(self.handle) or load.context)
        self.weight_bytes: int = api.llama_model_size(self.handle)


def alone(model: Model, load: Load) -> Embedder:
    """The one context of a model that only embeds. Raises Problem or DecodeFailed."""
    embedder = Embedder(model.handle, replace(load, context=model.context), batch=load.batch)
    embedder.warm_up()
    return embedder


def beside(backend: llama.Llama, load: Load, *, batch: int) -> Embedder:
    """For a model that generates. Nothing is made before the first text comes."""
    return Embedder(backend._model, replace(load, context=backend.context), batch=batch)


class _Batch(llama.Batch):
    def fill(self, chunks: Sequence[Chunk]) -> None:
        """Every token is an output here, as pooling wants them all; llama.cpp would say so each time."""
        super().fill(chunks)
        self._wanted[: self.native.n_tokens] = 1


def normalised(vectors: Sequence[Vector], *, dimensions: int) -> list[list[float]]:
    """Cut to the first `dimensions` numbers (0, or more than there are: all of them) and of Euclidean length 1.

    Nine decimals are what 32 bits hold of numbers of this size; more would only make the reply longer. A vector of
    zeros stays as it is. Raises Problem where a number is none.
    """
    if not vectors:
        return []
    rows = np.stack(vectors).astype(np.float64)
    if not np.isfinite(rows).all():
        raise Problem("invalid", NO_NUMBERS)
    if dimensions > 0:
        rows = rows[:, :dimensions]
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(lengths > 0, lengths, 1)
    numbers: list[list[float]] = np.round(rows, 9).tolist()
    return numbers


def _empty_text(model: Any) -> Tokens:
    """What stands for a text of no tokens: the vocabulary's beginning, else its end, else its first token."""
    vocabulary = api.llama_model_get_vocab(model)
    for token in (api.llama_vocab_bos(vocabulary), api.llama_vocab_eos(vocabulary)):
        if token >= 0:
            return np.asarray([token], dtype=np.int32)
    return np.zeros(1, dtype=np.int32)


def _pooling(model: Any) -> int:
    """The pooling to ask llama.cpp for. Raises Problem for a model that ranks instead of embedding."""
    named = _meta(model, "pooling_type")
    if named == str(api.LLAMA_POOLING_TYPE_RANK):
        raise Problem("invalid", "this model ranks texts; it has no embeddings")
    if named and named != str(api.LLAMA_POOLING_TYPE_NONE):
        return int(named)
    return int(api.LLAMA_POOLING_TYPE_LAST)


def _is_causal(model: Any) -> bool:
    return _meta(model, "attention.causal") != "false"


def _meta(model: Any, name: str) -> str:
    """A value of the model's metadata as text, without its architecture's prefix; empty if there is none."""
    architecture = _text(model, "general.architecture")
    return _text(model, f"{architecture}.{name}")


def _text(model: Any, key: str) -> str:
    buffer = ctypes.create_string_buffer(META_BYTES)
    length = api.llama_model_meta_val_str(model, key.encode(), buffer, META_BYTES)
    return buffer.value.decode("utf-8", "replace") if length >= 0 else ""


def _rounded(tokens: int) -> int:
    """The next power of two, so that contexts are made anew a few times at most."""
    return 1 << max(6, (tokens - 1).bit_length())
