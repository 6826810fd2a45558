"""llama.cpp as the engine's backend. Its C interface comes from lib.py.

The high-level class of llama_cpp decodes one sequence at a time, so the low-level calls are used. `llama_decode` lets
other Python threads run; the many small calls beside it are made without that (PyDLL), or each of them would be a
chance for another thread to take the interpreter in the middle of a step.
"""

import ctypes
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llguidance import LLTokenizer
from numpy.typing import NDArray

from apps.inference.engine import adapters, mapping, tokenizer
from apps.inference.engine.backend import Chunk, DecodeFailed, NoRoom, Tokens
from apps.inference.engine.lib import held, held_logits, opened
from apps.inference.engine.lib import lib as api
from apps.inference.engine.lib import log_to as log_to
from apps.inference.engine.loading import Load, outputs
from apps.inference.engine.loading import LoadFailed as LoadFailed
from apps.inference.engine.logprobs import Logprob, weigh
from apps.inference.engine.matching import Mask
from apps.inference.engine.samplers import Sampler, draw
from apps.inference.engine.sampling import Chain
from apps.inference.engine.shelf import Saved, Shelf

KV_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "bf16": 30}
FLASH = {"auto": -1, "off": 0, "on": 1}

_seq_rm = held("llama_memory_seq_rm")
_seq_cp = held("llama_memory_seq_cp")
_seq_add = held("llama_memory_seq_add")
_logits = held_logits()


class Batch:
    """llama_batch over arrays of our own, filled a slice at a time. Every token belongs to exactly one sequence."""

    def __init__(self, size: int) -> None:
        self._token = np.zeros(size, dtype=np.int32)
        self._position = np.zeros(size, dtype=np.int32)
        self._slot = np.zeros(size, dtype=np.int32)
        self._wanted = np.zeros(size, dtype=np.int8)
        self._ones = np.ones(size, dtype=np.int32)
        self._slot_pointers = self._slot.ctypes.data + 4 * np.arange(size, dtype=np.uint64)
        self.rows: list[int] = []  # where in the batch the wanted logits are
        self.native = api.llama_batch(
            n_tokens=0,
            token=_pointer(self._token, api.llama_token),
            embd=None,
            pos=_pointer(self._position, api.llama_pos),
            n_seq_id=_pointer(self._ones, ctypes.c_int32),
            seq_id=_pointer(self._slot_pointers, ctypes.POINTER(api.llama_seq_id)),
            logits=_pointer(self._wanted, ctypes.c_int8),
        )

    def fill(self, chunks: Sequence[Chunk]) -> None:
        at = 0
        self.rows.clear()
        for chunk in chunks:
            end = at + len(chunk.tokens)
            self._token[at:end] = chunk.tokens
            self._position[at:end] = np.arange(chunk.start, chunk.start + end - at)
            self._slot[at:end] = chunk.slot
            self._wanted[at:end] = 0
            self._wanted[end - chunk.sample : end] = 1
            self.rows.extend(range(end - chunk.sample, end))
            at = end
        self.native.n_tokens = at

    def of(self, chunk: Chunk) -> Any:
        """The batch with the rows of this chunk in the place of its tokens. It must be kept until it is done."""
        assert chunk.embeddings is not None
        native = api.llama_batch.from_buffer_copy(self.native)
        native.token, native.embd = None, _pointer(chunk.embeddings, ctypes.c_float)
        if chunk.positions is not None:  # one section after the other
            native.pos = _pointer(chunk.positions, api.llama_pos)
        return native


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))


def _bytes(array: NDArray[np.uint8]) -> Any:
    return _pointer(array, ctypes.c_uint8)


class Llama:
    """A model and its one generation context. See backend.Backend for the contract.

    The thread that makes it must be the one that decodes: OpenMP keeps a team of threads for each thread that computes,
    and teams that are together more than the processors sleep between operators (a step took 20 % longer).
    """

    def __init__(self, load: Load, *, progress: Callable[[float], None]) -> None:
        file = os.fstat(load.file)
        self._model = _open_model(load, progress)
        self._vocabulary = api.llama_model_get_vocab(self._model)
        self._size = api.llama_vocab_n_tokens(self._vocabulary)
        self.slots = load.slots
        self.context = min(load.context, api.llama_model_n_ctx_train(self._model) or load.context)
        loras = adapters.read(self._model, load.adapters)
        self._context = _open_context(self._model, load, context=self.context)
        adapters.apply(self._context, loras, load.adapters)
        self._memory = api.llama_get_memory(self._context)
        self.batch = api.llama_n_batch(self._context)
        recurrent = api.llama_model_is_recurrent(self._model) or api.llama_model_is_hybrid(self._model)
        self.can_trim = not recurrent
        # In a split cache sequences that take unequal numbers of tokens are computed one after the other.
        self.drafts = load.drafts if self.can_trim and (load.kv_unified or load.slots == 1) else 0
        self.outputs = outputs(self.slots, drafts=load.drafts)
        self.can_shift = bool(api.llama_memory_can_shift(self._memory)) and not recurrent
        self.shares_cells = load.kv_unified
        self.reach = _reach(self._model, vocabulary=self._size)
        self.weight_bytes: int = api.llama_model_size(self._model)
        self._batch = Batch(self.batch)
        self._shelf = Shelf()
        self._pieces: dict[int, bytes] = {}
        self._ends: dict[int, bool] = {}
        self._tokenizer: LLTokenizer | None = None
        self._rows: NDArray[np.float32] = np.empty((0, self._size), dtype=np.float32)
        self._row_address = 0
        mapping.let_go(file)
        self._warm_up()

    def decode(self, chunks: Sequence[Chunk]) -> None:
        self._batch.fill(chunks)
        if chunks[0].embeddings is None:
            self._compute(self._batch.native)
        else:
            self._look(chunks[0])
        self._find_rows()

    def sampler(self, chain: Chain, recent: Sequence[int]) -> Sampler:
        return Sampler(chain, recent, vocabulary=self._size)

    def sample(self, sampler: Sampler, row: int, mask: Mask | None = None) -> int:
        logits = self._rows[row]
        if mask is not None:
            return sampler.choose(logits, mask)
        if sampler.greedy:
            return int(logits.argmax())
        ids = sampler.candidates(logits)
        if ids is None:
            return sampler.choose_of_all(self._context, self._batch.rows[row])
        return draw(sampler, ids, logits)

    def accept(self, sampler: Sampler, token: int) -> None:
        sampler.accept(token)

    def logprob(self, row: int, token: int, *, top: int) -> Logprob:
        logprob, others = weigh(self._rows[row], token, top=top)
        return Logprob(self._name(token), logprob, tuple(Logprob(self._name(one), value) for one, value in others))

    def free(self, sampler: Sampler) -> None:
        if sampler.handle is not None:
            api.llama_sampler_free(sampler.handle)
            sampler.handle = None

    def clear(self, slot: int) -> None:
        _seq_rm(self._memory, slot, -1, -1)

    def trim(self, slot: int, position: int) -> bool:
        return bool(_seq_rm(self._memory, slot, position, -1))

    def copy(self, source: int, target: int, position: int) -> bool:
        # With a range this call aborts the process unless the memory is unified: copy all, then trim.
        _seq_rm(self._memory, target, -1, -1)
        _seq_cp(self._memory, source, target, -1, -1)
        if _seq_rm(self._memory, target, position, -1):
            return True
        self.clear(target)
        return False

    def save(self, slot: int) -> Saved:
        saved = self._shelf.take(api.llama_state_seq_get_size(self._context, slot))
        room = saved.buffer.size
        saved.length = api.llama_state_seq_get_data(self._context, _bytes(saved.buffer), room, slot)
        return saved

    def restore(self, slot: int, saved: Saved) -> bool:
        read = api.llama_state_seq_set_data(self._context, _bytes(saved.buffer), saved.length, slot)
        if not read:
            self.clear(slot)
        return bool(read)

    def shift(self, slot: int, keep: int, discard: int, length: int) -> None:
        _seq_rm(self._memory, slot, keep, keep + discard)
        _seq_add(self._memory, slot, keep + discard, length, -discard)

    def piece(self, token: int) -> bytes:
        """Control tokens have no text."""
        if token not in self._pieces:
            self._pieces[token] = tokenizer.render(self._vocabulary, token, special=False)
        return self._pieces[token]

    def marker(self, text: str) -> int | None:
        tokens = self.tokenise(text, beginning=False)
        return int(tokens[0]) if len(tokens) == 1 else None

    def tokenizer(self) -> LLTokenizer:
        """Called from one thread, which need not be the loop's."""
        if self._tokenizer is None:
            self._tokenizer = tokenizer.make(self._vocabulary)
        return self._tokenizer

    def ends(self, token: int) -> bool:
        if token not in self._ends:
            self._ends[token] = bool(api.llama_vocab_is_eog(self._vocabulary, token))
        return self._ends[token]

    def tokenise(self, text: str, *, special: bool = True, beginning: bool = True) -> Tokens:
        """Tokens of a text, with the model's own `beginning`; `special` reads control tokens out of it."""
        data = text.encode()
        tokens = np.empty(len(data) + 8, dtype=np.int32)
        count = api.llama_tokenize(
            self._vocabulary, data, len(data), _pointer(tokens, api.llama_token), len(tokens), beginning, special
        )
        return tokens[:count]

    def _compute(self, batch: Any) -> None:
        code = api.llama_decode(self._context, batch)
        if code == 1:
            raise NoRoom
        if code:
            raise DecodeFailed(f"the model failed to compute a step (code {code})")

    def _look(self, chunk: Chunk) -> None:
        """Compute a chunk of an image, which has rows in the place of tokens."""
        api.llama_set_causal_attn(self._context, chunk.causal)
        try:
            self._compute(self._batch.of(chunk))
        finally:
            api.llama_set_causal_attn(self._context, True)

    def _name(self, token: int) -> bytes:
        """As `piece`, control tokens with their names."""
        return self.piece(token) or tokenizer.render(self._vocabulary, token, special=True)

    def _find_rows(self) -> None:
        """Look at the logits where llama.cpp left them: one row for each wanted token, in the order of the batch."""
        address = _logits(self._context)
        if address == self._row_address and len(self._batch.rows) <= len(self._rows):
            return
        rows = max(len(self._batch.rows), 1)
        native = (ctypes.c_float * (rows * self._size)).from_address(address)
        self._rows = np.frombuffer(native, dtype=np.float32).reshape(rows, self._size)
        self._row_address = address

    def _warm_up(self) -> None:
        """One step now, so that the first answer does not wait for the weights to be read from disk."""
        self.decode([Chunk(0, 0, np.zeros(1, dtype=np.int32), True)])
        api.llama_memory_clear(self._memory, False)


def _open_model(load: Load, progress: Callable[[float], None]) -> Any:
    params = api.llama_model_default_params()
    params.n_gpu_layers = load.gpu_layers
    if load.main_gpu is not None:
        params.main_gpu = load.main_gpu
        params.split_mode = params.split_mode if load.tensor_split else api.LLAMA_SPLIT_MODE_NONE
    if load.tensor_split:
        params.tensor_split = (ctypes.c_float * api.llama_max_devices())(*load.tensor_split)
    if load.mmap is not None:
        params.load_mode = api.LLAMA_LOAD_MODE_MMAP if load.mmap else api.LLAMA_LOAD_MODE_NONE

    def report(fraction: float, _data: Any) -> bool:
        progress(fraction)
        return True  # go on

    params.progress_callback = callback = api.llama_progress_callback(report)
    api.llama_backend_init()
    with opened(load.file) as file:
        model = api.llama_model_load_from_file_ptr(file, params)
    del callback  # it had to live until here
    if not model:
        raise LoadFailed("the model could not be loaded")
    return model


def _reach(model: Any, *, vocabulary: int) -> int:
    """A token is multiplied once with each weight but the vocabulary's two tables (one, where they are the same, is
    counted twice), and in each layer twice by its width with every token before it, which llama.cpp does at half the
    speed (docs/benchmarks.md). Of a mixture of experts, which uses but a part of its weights, this is too much."""
    width: int = api.llama_model_n_embd(model)
    layers: int = api.llama_model_n_layer(model)
    weights: int = api.llama_model_n_params(model)
    return max(1, (weights - 2 * vocabulary * width) // max(1, 4 * width * layers))


def _open_context(model: Any, load: Load, *, context: int) -> Any:
    params = api.llama_context_default_params()
    params.n_ctx = context * load.slots
    params.n_seq_max = load.slots
    params.n_batch = params.n_ubatch = min(load.batch, params.n_ctx)
    # Room for the logits of a whole batch would be 300 MB with a large vocabulary.
    params.n_outputs_max = outputs(load.slots, drafts=load.drafts)
    params.n_threads = params.n_threads_batch = threads(load)
    params.type_k = params.type_v = KV_TYPES[load.kv_type]
    params.kv_unified = load.kv_unified
    params.flash_attn_type = FLASH[load.flash]
    handle = api.llama_init_from_model(model, params)
    if not handle:
        raise LoadFailed(f"there is not enough memory for {load.slots} contexts of {context} tokens")
    return handle


def threads(load: Load) -> int:
    """As many as asked for, up to one a core: they spin at barriers, so more would slow down everybody."""
    cores = _cores()
    return min(load.threads, cores) if load.threads > 0 else cores


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
