"""How many slots a replica gets, and the bytes it needs, before it is loaded. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.inference import estimate


@dataclass(frozen=True)
class Plan:
    slots: int
    need_bytes: int


def plan(sizing: Mapping[str, Any], *, context: int, slots: int, room: int, kv_type: str) -> Plan | None:
    """The most slots, up to `slots`, whose needs fit into `room` bytes; None if not even one does.

    `sizing` is the GGUF's metadata without arrays, with tensor_bytes and vocab_size (apps.registry.resolve.Version).
    """
    while slots >= 1:
        need = estimate.need(sizing, context=context, slots=slots, kv_type=kv_type).total
        if need <= room:
            return Plan(slots, need)
        slots //= 2
    return None
