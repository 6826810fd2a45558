"""llama.cpp's sampler chains over as few candidates as will do. Its C interface comes from lib.py."""

import ctypes
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.inference.engine.backend import DecodeFailed
from apps.inference.engine.lib import held
from apps.inference.engine.lib import lib as api
from apps.inference.engine.matching import Mask
from apps.inference.engine.sampling import Chain

WIDEST = 256  # candidates up to which the likeliest are picked before llama.cpp's samplers see them
FEW = 1024  # tokens that a grammar allows which go to the samplers as they are
BLOCK = 64
CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_STRIDES = np.arange(BLOCK)[:, None]
_accept = held("llama_sampler_accept")
_apply = held("llama_sampler_apply")
_sample = held("llama_sampler_sample")


class Sampler:
    """One sequence's chain. `recent` mirrors what the penalties look at."""

    def __init__(self, chain: Chain, recent: Sequence[int], *, vocabulary: int) -> None:
        self.chain = chain
        last_n = chain.penalties.last_n if chain.penalties else 0
        self.recent: deque[int] = deque(recent, maxlen=last_n)
        self.greedy = chain.seed is None and chain.penalties is None
        self.handle = None if self.greedy else _chain(chain, vocabulary=vocabulary)
        for token in self.recent:
            _accept(self.handle, token)

    def accept(self, token: int) -> None:
        """Let the penalties know a token."""
        if self.handle is not None:
            _accept(self.handle, token)
        self.recent.append(token)

    def choose(self, logits: NDArray[np.float32], mask: Mask) -> int:
        """The next token among those that the mask allows. The likeliest of all mostly is: it is asked first."""
        if self.greedy and mask[(best := int(logits.argmax())) >> 3] >> (best & 7) & 1:
            return best
        allowed = np.unpackbits(mask, count=logits.size, bitorder="little").view(np.bool_)
        ids = allowed.nonzero()[0]
        if ids.size > FEW:
            masked = np.where(allowed, logits, -np.inf)
            likely = _best(masked, 1) if self.greedy else self.candidates(masked)
            ids = ids if likely is None else likely[allowed[likely]]
        if self.greedy:
            return int(ids[logits[ids].argmax()])
        return draw(self, ids, logits)

    def choose_of_all(self, context: Any, place: int) -> int:
        """The next token by the whole chain over the whole vocabulary, which llama.cpp reads itself."""
        token = int(_sample(self.handle, context, place))
        self.recent.append(token)
        return token

    def candidates(self, row: NDArray[np.float32]) -> NDArray[np.intp] | None:
        """The ids that can be left after the penalties and top-k; None when that may be most of the vocabulary.

        Only penalised tokens move among the others, so the k best afterwards are among the k + p best before and the p
        penalised.
        """
        penalised = set(self.recent)
        wanted = (self.chain.top_k if self.chain.seed is not None else 1) + len(penalised)
        if wanted == len(penalised) or wanted > min(WIDEST, row.size // BLOCK):
            return None
        ids = _best(row, wanted)
        return np.union1d(ids, np.fromiter(penalised, np.intp)) if penalised else ids


def _best(row: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """The ids of at least the `count` largest values, in a fraction of a sort's time.

    The row is cut into strided blocks. At least `count` values are not below the count-th largest of the blocks'
    maxima, and only blocks whose maximum is not below it hold any.
    """
    width = row.size // BLOCK
    maxima = row[: BLOCK * width].reshape(BLOCK, width).max(axis=0)
    bound = np.partition(maxima, width - count)[width - count]
    blocks = (maxima >= bound).nonzero()[0]
    ids = np.concatenate([(blocks + _STRIDES * width).ravel(), np.arange(BLOCK * width, row.size)])
    best: NDArray[np.intp] = np.sort(ids[row[ids] >= bound])
    return best


def _chain(chain: Chain, *, vocabulary: int) -> Any:
    handle = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
    for step in _steps(chain, vocabulary=vocabulary):
        api.llama_sampler_chain_add(handle, step)
    return handle


def _steps(chain: Chain, *, vocabulary: int) -> Iterable[Any]:
    if penalties := chain.penalties:
        yield api.llama_sampler_init_penalties(
            vocabulary, penalties.last_n, penalties.repeat, penalties.frequency, penalties.presence
        )
    if chain.top_k:
        yield api.llama_sampler_init_top_k(chain.top_k)
    if chain.typical_p is not None:
        yield api.llama_sampler_init_typical(chain.typical_p, 1)
    if chain.top_p is not None:
        yield api.llama_sampler_init_top_p(chain.top_p, 1)
    if chain.min_p is not None:
        yield api.llama_sampler_init_min_p(chain.min_p, 1)
    if chain.temperature is not None:
        yield api.llama_sampler_init_temp(chain.temperature)
    yield api.llama_sampler_init_greedy() if chain.seed is None else api.llama_sampler_init_dist(chain.seed)


def draw(sampler: Sampler, ids: NDArray[np.intp], logits: NDArray[np.float32]) -> int:
    """The chain's choice among some tokens, which it then knows. Raises DecodeFailed."""
    if not ids.size:
        raise DecodeFailed("the model computed no numbers to choose a token by")
    data = np.zeros(ids.size, dtype=CANDIDATE)
    data["id"], data["logit"] = ids, logits[ids]
    array = api.llama_token_data_array(
        data=ctypes.cast(data.ctypes.data, ctypes.POINTER(api.llama_token_data)),
        size=ids.size,
        selected=-1,
        sorted=False,
    )
    _apply(sampler.handle, ctypes.byref(array))
    token = int(array.data[array.selected].id)
    sampler.accept(token)
    return token
