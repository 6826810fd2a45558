"""Request bodies as Go's encoding/json reads them (contract, section 1.1 and its corrections). Pure.

    body = decode(GenerateRequest, request.body)

A body is declared as a frozen dataclass whose fields carry a Go type (`go(STRING)`); this module reads the first JSON
value of the bytes into it. Names match without case, the last duplicate wins, null counts as absent, unknown fields
are dropped. Whatever is wrong raises `Problem("invalid", <Go's sentence>)`, and nothing else is ever raised.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from apps.api.ollama import syntax
from apps.errors import Problem

MAX_VALUES = 500_000  # commas and brackets in one body: each may become an object of some hundred bytes
MAX_DEPTH = 200  # of the free-form values that are kept; Go stops at 10,000
_INT64 = range(-(2**63), 2**63)
_SURROGATE = re.compile("[\ud800-\udfff]")
_BASE64_END = re.compile(r"[^A-Za-z0-9+/\r\n]")

KEEP = object()  # what a JSON null does to Go's scalars: the field stays as it was
Path = tuple[str | int, ...]  # the root type's name, then field names and indices
T = TypeVar("T")


class _Object(list[tuple[str, Any]]):
    """A JSON object as its pairs, in order and with duplicates."""


class _Number(float):
    """A JSON number that is no small integer, with the text it was written in."""

    text: str


@dataclass(frozen=True)
class GoType:
    """How a JSON value becomes a field: Go's name of the type for error texts, the reader, and what null makes."""

    name: str
    read: Callable[[Any, Path], Any]
    zero: Any = None
    null: Any = KEEP


def go(kind: GoType, *, name: str = "", optional: bool = False) -> Any:
    """A dataclass field of that Go type. `optional` is Go's pointer: absent and null are None, not the zero value."""
    return field(
        default=None if optional else kind.zero,
        metadata={"go": kind, "name": name, "null": None if optional else kind.null},
    )


def decode(kind: type[T], body: bytes) -> T:
    """The first JSON value of `body` as `kind`."""
    try:
        request: T = _read_struct(kind, _parse(body), (kind.__name__,))
    except RecursionError as error:
        raise Problem("invalid", syntax.TOO_DEEP) from error
    return request


# --- The text -----------------------------------------------------------------------------------------------------


def _parse(body: bytes) -> Any:
    text = body.decode("utf-8", "replace")
    start = len(text) - len(text.lstrip(" \t\r\n"))
    if start == len(text):
        raise Problem("invalid", "missing request body")
    if text.count(",") + text.count("[") + text.count("{") > MAX_VALUES:
        raise Problem("too_large", f"the request body holds more than {MAX_VALUES} JSON values")
    try:
        return _PARSER.raw_decode(text, start)[0]
    except ValueError as error:
        raise Problem("invalid", syntax.fault(text) or "invalid JSON") from error


def _number(text: str) -> _Number:
    number = _Number(text)
    number.text = text
    return number


def _integer(text: str) -> int | _Number:
    return int(text) if len(text) < 20 else _number(text)


def _refuse_constant(text: str) -> Any:
    raise ValueError(text)  # NaN and Infinity: Python's parser takes them, JSON and Go do not


_PARSER = json.JSONDecoder(
    object_pairs_hook=_Object, parse_float=_number, parse_int=_integer, parse_constant=_refuse_constant
)


# --- Mismatches ---------------------------------------------------------------------------------------------------


def mismatch(value: Any, path: Path, name: str, because: str = "") -> Problem:
    """The UnmarshalTypeError of Go for a value that is no `name`."""
    return _mismatch(_word(value), path, name, because)


def _mismatch(word: str, path: Path, name: str, because: str = "") -> Problem:
    root, *rest = [str(part) for part in path]
    if not rest:
        place = "Go value"
    elif len(rest) == 1:
        place = f"Go struct field {root}.{rest[0]}"
    else:
        place = ".".join((root, *rest))
    suffix = f": {because}" if because else ""
    return Problem("invalid", f"json: cannot unmarshal {word} into {place} of type {name}{suffix}")


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, _Object):
        return "object"
    return "array" if isinstance(value, list) else "number"


# --- Scalars ------------------------------------------------------------------------------------------------------


def _read_string(value: Any, path: Path) -> str:
    if not isinstance(value, str):
        raise mismatch(value, path, "string")
    return _whole(value)


def _whole(text: str) -> str:
    """Half a surrogate pair becomes U+FFFD, as in Go: no text that reaches the rest of the house fails to encode."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _read_bool(value: Any, path: Path) -> bool:
    if not isinstance(value, bool):
        raise mismatch(value, path, "bool")
    return value


def _read_int(value: Any, path: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise mismatch(value, path, "int")
    text = value.text if isinstance(value, _Number) else str(value)
    if not _is_int64(text):
        raise _mismatch(f"number {text}", path, "int")
    return int(text)


def _is_int64(text: str) -> bool:
    return len(text) <= 20 and text.lstrip("-").isdigit() and int(text) in _INT64


def _read_any(value: Any, path: Path) -> Any:
    return _plain(value, path, len(path))


def _plain(value: Any, path: Path, depth: int) -> Any:
    """Plain dicts, lists, strings, numbers. Go makes a float of every number here; integers stay integers in ours."""
    if depth > MAX_DEPTH:
        raise Problem("invalid", syntax.TOO_DEEP)
    if isinstance(value, _Object):
        return {_whole(key): _plain(item, path, depth + 1) for key, item in value}
    if isinstance(value, list):
        return [_plain(item, path, depth + 1) for item in value]
    if isinstance(value, str):
        return _whole(value)
    if not isinstance(value, _Number):
        return value
    if math.isinf(value):
        raise _mismatch(f"number {value.text}", path, "float64")
    return int(value.text) if _is_int64(value.text) else float(value)


def _read_image(value: Any, path: Path) -> bytes:
    if not isinstance(value, str):
        raise mismatch(value, path, "api.ImageData")
    offset = base64_fault(value)
    if offset is not None:
        raise mismatch(value, path, "api.ImageData", f"illegal base64 data at input byte {offset}")
    try:
        return base64.b64decode(value)
    except binascii.Error as error:
        raise mismatch(value, path, "api.ImageData", f"illegal base64 data: {error}") from error


def base64_fault(text: str) -> int | None:
    """Where Go's standard decoder stumbles (a byte offset), or None. Padding is needed; line breaks are skipped."""
    end = _BASE64_END.search(text)
    stop = end.start() if end else len(text)
    digits = (stop - text.count("\r", 0, stop) - text.count("\n", 0, stop)) % 4
    if end is None:
        return stop - digits if digits else None
    if text[stop] != "=" or digits < 2:
        return stop
    return _padding_fault(text, stop + 1, digits)


def _padding_fault(text: str, at: int, digits: int) -> int | None:
    """`at` follows the first `=`; after two digits a second one has to come, after it nothing but line breaks."""
    at = _past_breaks(text, at)
    if digits == 2:
        if at == len(text):
            return at
        if text[at] != "=":
            return at - 1
        at = _past_breaks(text, at + 1)
    return at if at < len(text) else None


def _past_breaks(text: str, at: int) -> int:
    while at < len(text) and text[at] in "\r\n":
        at += 1
    return at


# --- Composites ---------------------------------------------------------------------------------------------------


def list_of(kind: GoType, name: str = "") -> GoType:
    """A Go slice, as a tuple."""
    full = name or f"[]{kind.name}"

    def read(value: Any, path: Path) -> tuple[Any, ...]:
        if not isinstance(value, list) or isinstance(value, _Object):
            raise mismatch(value, path, full)
        return tuple(kind.zero if item is None else kind.read(item, (*path, n)) for n, item in enumerate(value))

    return GoType(full, read, zero=(), null=())


def map_of(kind: GoType) -> GoType:
    """A Go map with string keys, as a dict."""
    name = f"map[string]{kind.name}"

    def read(value: Any, path: Path) -> dict[str, Any]:
        if not isinstance(value, _Object):
            raise mismatch(value, path, name)
        return {
            _whole(key): kind.zero if item is None else kind.read(item, (*path, _whole(key))) for key, item in value
        }

    return GoType(name, read, null=None)


def struct(kind: type[Any], *, alias: str = "") -> GoType:
    """A nested struct. `alias` is the name under which a type that decodes itself in Go speaks of itself."""

    def read(value: Any, path: Path) -> Any:
        return _read_struct(kind, value, (alias,) if alias else path)

    return GoType(f"api.{alias or kind.__name__}", read, zero=kind())


def record(name: str, kinds: Mapping[str, GoType]) -> GoType:
    """A nested struct as a dict: the names declared in `kinds`, in the order of the body; null counts as absent.

    `kinds` may be filled later, so that a type can hold itself.
    """

    def read(value: Any, path: Path) -> dict[str, Any]:
        if not isinstance(value, _Object):
            raise mismatch(value, path, name)
        if len(path) > MAX_DEPTH:
            raise Problem("invalid", syntax.TOO_DEEP)
        folded = {_fold(declared): declared for declared in kinds}
        named = [(key if key in kinds else folded.get(_fold(key), ""), item) for key, item in value]
        return {key: kinds[key].read(item, (*path, key)) for key, item in named if key and item is not None}

    return GoType(name, read, zero={})


_Schema = tuple[Mapping[str, tuple[str, GoType, Any]], Mapping[str, str]]
_SCHEMAS: dict[type[Any], _Schema] = {}


def schema(kind: type[Any]) -> _Schema:
    """JSON name -> (attribute, type, value for null), and the folded name -> JSON name."""
    if kind not in _SCHEMAS:
        declared = {
            spec.metadata["name"] or spec.name: (spec.name, spec.metadata["go"], spec.metadata["null"])
            for spec in fields(kind)
        }
        _SCHEMAS[kind] = declared, {_fold(name): name for name in declared}
    return _SCHEMAS[kind]


def _fold(name: str) -> str:
    """Go's case folding: the Kelvin sign and the long s have ASCII letters as their other case."""
    return name.replace("ſ", "s").lower()


def _read_struct(kind: type[Any], value: Any, path: Path) -> Any:
    if not isinstance(value, _Object):
        if value is None:
            return kind()
        raise mismatch(value, path, f"api.{path[0] if len(path) == 1 else kind.__name__}")
    declared, folded = schema(kind)
    found: dict[str, Any] = {}
    for key, item in value:
        name = key if key in declared else folded.get(_fold(key))
        if name is None:
            continue
        attribute, go_type, null = declared[name]
        if item is not None:
            found[attribute] = go_type.read(item, (*path, name))
        elif null is not KEEP:
            found[attribute] = null
    return kind(**found)


STRING = GoType("string", _read_string, zero="")
BOOL = GoType("bool", _read_bool, zero=False)
INT = GoType("int", _read_int, zero=0)
ANY = GoType("interface {}", _read_any, null=None)
RAW = GoType("json.RawMessage", _read_any, null=None)
IMAGE = GoType("api.ImageData", _read_image, zero=b"")
STRINGS = list_of(STRING)
IMAGES = list_of(IMAGE)
OPTIONS = map_of(ANY)
STRING_MAP = map_of(STRING)
