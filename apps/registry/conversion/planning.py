"""What a tensor of the GGUF is made of. Pure but for numpy.

Matrices keep the precision that they came with; what is added or multiplied one by one (norms, biases) is 32-bit, as
llama.cpp wants it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

from apps.errors import Problem
from apps.registry.conversion.safetensors import FLOATS, Tensor

Array = NDArray[Any]
Change = Callable[[Array], Array]
_TYPES = {"F32": GGMLQuantizationType.F32, "F16": GGMLQuantizationType.F16, "BF16": GGMLQuantizationType.BF16}


@dataclass(frozen=True)
class Planned:
    """A tensor called `name` in the GGUF and `source` in the safetensors, of `shape` (slowest first) in both.

    `change` keeps the shape. `exact` tensors are written as 32-bit floats, and `change` sees them so; others keep
    their type, and `change` may only move their numbers. Without a source, `made` are the numbers.
    """

    name: str
    source: str
    shape: tuple[int, ...]
    change: Change | None = None
    exact: bool = False
    optional: bool = False
    made: Array | None = None


@dataclass(frozen=True)
class Ready:
    """A planned tensor with its numbers at hand; nothing is computed before `array` is called."""

    plan: Planned
    tensor: Tensor | None

    @property
    def type(self) -> GGMLQuantizationType:
        return GGMLQuantizationType.F32 if self.plan.exact or not self.tensor else _TYPES[self.tensor.dtype]

    @property
    def dtype(self) -> "numpy.dtype[Any]":
        exact = self.plan.exact or not self.tensor
        return numpy.dtype("<f4" if exact or not self.tensor else FLOATS[self.tensor.dtype])

    def array(self) -> Array:
        if self.tensor is None:
            return numpy.ascontiguousarray(self.plan.made, dtype="<f4")
        array = as_float32(self.tensor) if self.plan.exact else self.tensor.array()
        changed = self.plan.change(array) if self.plan.change else array
        return numpy.ascontiguousarray(changed, dtype=self.dtype)


def as_float32(tensor: Tensor) -> Array:
    array = tensor.array()
    if tensor.dtype == "BF16":
        return (array.astype("<u4") << 16).view("<f4")
    return array.astype("<f4", copy=False)


def matched(planned: Iterable[Planned], tensors: Mapping[str, Tensor], ignored: Callable[[str], bool]) -> list[Ready]:
    """Each planned tensor with its source. Raises Problem("invalid") for one that is missing, has another shape or
    type, or is not known: what a model holds and this converter does not understand must not be dropped in silence."""
    ready = []
    left = set(tensors)
    for plan in planned:
        tensor = tensors.get(plan.source)
        left.discard(plan.source)
        if tensor is not None:
            _require_fit(plan, tensor)
        elif plan.made is None and plan.optional:
            continue
        elif plan.made is None:
            raise Problem("invalid", f"tensor {plan.source!r} is missing")
        ready.append(Ready(plan, tensor))
    unknown = sorted(name for name in left if not ignored(name))
    if unknown:
        raise Problem("invalid", f"tensor {unknown[0]!r} is none that this architecture has; {len(unknown)} such")
    return ready


def _require_fit(plan: Planned, tensor: Tensor) -> None:
    if tensor.dtype not in FLOATS:
        raise Problem(
            "invalid", f"tensor {tensor.name!r} is of type {tensor.dtype}; F16, BF16 and F32 can be converted"
        )
    if tensor.shape != plan.shape:
        raise Problem(
            "invalid", f"tensor {tensor.name!r} has the shape {list(tensor.shape)}; {list(plan.shape)} was expected"
        )


def precision(ready: Iterable[Ready]) -> str:
    """The type of most of the numbers: F32, F16 or BF16."""
    weights: dict[str, int] = {}
    for each in ready:
        if not each.plan.exact:
            size = int(numpy.prod(each.plan.shape, dtype=object))
            weights[each.type.name] = weights.get(each.type.name, 0) + size
    return max(weights, key=lambda name: weights[name], default="F32")
