"""What a model is loaded with. Pure."""

from dataclasses import dataclass
from typing import Literal

Flash = Literal["auto", "on", "off"]
DRAFTS = 4  # tokens that a sequence may guess in a step, unless a setting says otherwise
PARKED_SHARE = 8  # idle caches outside of llama.cpp's memory take at most this part of what it holds (see slots.py)


class LoadFailed(Exception):
    """The model, an adapter or the context could not be made; llama.cpp's log says more."""


@dataclass(frozen=True)
class Adapter:
    """`file` is an open descriptor of a LoRA's GGUF, which the load closes. A scale of 0 leaves the model as it is."""

    file: int
    scale: float = 1.0


@dataclass(frozen=True)
class Load:
    """`file` is an open descriptor of the GGUF, which the load closes: by then the process may have lost the right to
    reach its path. So is `projector`, for a model that has one (see projector.beside). `context` is in tokens per slot.
    None, 0 and negative `gpu_layers` leave the choice to llama.cpp. `drafts` are tokens of a sequence in a step."""

    file: int
    context: int
    slots: int = 1
    batch: int = 512
    threads: int = 0
    gpu_layers: int = -1
    main_gpu: int | None = None
    tensor_split: tuple[float, ...] = ()
    mmap: bool | None = None
    kv_type: str = "f16"
    kv_unified: bool = True
    flash: Flash = "auto"
    adapters: tuple[Adapter, ...] = ()
    projector: int | None = None
    drafts: int = DRAFTS


def outputs(slots: int, *, drafts: int) -> int:
    """Rows of logits that a step may have: a token for each slot, and as many guesses (drafting.py)."""
    return max(2 * slots, 1 + drafts) if drafts else slots
