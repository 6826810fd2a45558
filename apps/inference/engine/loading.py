"""What a model is loaded with. Pure."""

from dataclasses import dataclass
from typing import Literal

Flash = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class Load:
    """`file` is an open descriptor of the GGUF, which the load closes: by then the process may have lost the right to
    reach its path. `context` is in tokens per slot. None, 0 and negative `gpu_layers` leave the choice to llama.cpp."""

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
