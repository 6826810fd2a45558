"""The `options` of a request over the PARAMETERs of a model: what they mean, and what is refused. Pure.

Source: the wire contract, section 5. Its error texts come with status 500; refusals of our own are 400.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from apps.errors import Problem
from apps.inference.types import Limits, LoadOptions, Sampling

_INT32 = (-(2**31), 2**31 - 1)
_INT64 = (-(2**63), 2**63 - 1)
_FLOAT32_MAX = 3.4028234663852886e38
_STOPS = 256
_STOP_CHARACTERS = 4096
_MIN_CONTEXT = 4

_T = TypeVar("_T", Sampling, Limits, LoadOptions)


def merge(params: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Sampling, Limits, LoadOptions]:
    """What a request asks for: its own options win over the model's, those over the built-in defaults.

    null, unknown and deprecated names are ignored. Limits are partial: `truncate` and `shift` are fields of the
    request, not options. Sizes stay as asked: the trained context and 10 x num_ctx are placement's to apply.
    """
    read = _read(params) | _read(options)
    return _pick(Sampling, read), _pick(Limits, read), _pick(LoadOptions, read)


def _pick(kind: type[_T], read: Mapping[str, Any]) -> _T:
    return kind(**{name: value for name, value in read.items() if name in kind.__dataclass_fields__})


def _read(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _READERS[name](name, value) for name, value in given.items() if name in _READERS and value is not None
    }


def _wrong(name: str, what: str) -> Problem:
    return Problem("invalid", f'option "{name}" must be {what}', status=500)


def _integer(low: int, high: int) -> Callable[[str, object], int]:
    def read(name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong(name, "of type integer")
        if isinstance(value, float) and not math.isfinite(value):
            raise Problem("invalid", f'option "{name}" must be a finite number')
        if not low <= int(value) <= high:
            raise Problem("invalid", f'option "{name}" must be between {low} and {high}')
        return int(value)

    return read


def _real(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(name, "of type float32")
    if not abs(value) <= _FLOAT32_MAX:
        raise Problem("invalid", f'option "{name}" must be a finite number that fits in 32 bits')
    return float(value)


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, "of type boolean")
    return value


def _stops(name: str, value: object) -> tuple[str, ...]:
    """An empty stop word would end every reply before its first character, so it counts as none."""
    if not isinstance(value, list | tuple):
        raise _wrong(name, "of type array")
    if not all(isinstance(word, str) for word in value):
        raise _wrong(name, "of an array of strings")
    if len(value) > _STOPS or any(len(word) > _STOP_CHARACTERS for word in value):
        raise Problem("invalid", f'option "{name}" may hold {_STOPS} strings of {_STOP_CHARACTERS} characters at most')
    return tuple(dict.fromkeys(word for word in value if word))


def _reals(name: str, value: object) -> tuple[float, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong(name, "of type array")
    return tuple(_real(name, item) for item in value)


def _context(name: str, value: object) -> int | None:
    """0 leaves the choice to the server."""
    tokens = _integer(*_INT32)(name, value)
    return max(_MIN_CONTEXT, tokens) if tokens else None


_READERS: dict[str, Callable[[str, object], Any]] = {
    "num_ctx": _context,
    "num_batch": _integer(1, 2**20),
    "num_gpu": _integer(*_INT32),
    "main_gpu": _integer(*_INT32),
    "use_mmap": _boolean,
    "num_thread": _integer(-1, 4096),
    "tensor_split": _reals,
    "num_keep": _integer(*_INT32),
    "num_predict": _integer(*_INT32),
    "stop": _stops,
    "seed": _integer(*_INT64),
    "top_k": _integer(*_INT32),
    "repeat_last_n": _integer(*_INT32),
    "temperature": _real,
    "top_p": _real,
    "min_p": _real,
    "typical_p": _real,
    "repeat_penalty": _real,
    "presence_penalty": _real,
    "frequency_penalty": _real,
    "draft_num_predict": _integer(*_INT32),  # checked as others are; no dataclass holds it until drafts are served
}
