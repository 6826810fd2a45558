"""Sentencepiece's BPE: out of tokenizer.model (a protobuf), or out of a tokenizer.json that falls back to bytes. Pure.

The protobuf is sentencepiece_model.proto: ModelProto has pieces (field 1: text 1, score 2, type 3), trainer_spec (2:
model_type 3) and normalizer_spec (3: add_dummy_prefix 3, remove_extra_whitespaces 4).
"""

import math
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from gguf import TokenType

from apps.errors import Problem
from apps.registry.conversion.config import MAX_VOCABULARY
from apps.registry.conversion.vocabulary import (
    Vocabulary,
    added,
    begins,
    laid_out,
    merges,
    numbered,
    steps,
    wrong,
)

NAME = "tokenizer.model"
SPACE = "\u2581"
_BPE = 2
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Value = int | bytes


def read(raw: bytes, tokenizer: Mapping[str, Any]) -> Vocabulary:
    """Out of tokenizer.model; the added tokens are tokenizer.json's, where that was sent, too."""
    pieces, spec, normalizer = [], b"", b""
    for number, value in _fields(raw):
        if number == 1 and isinstance(value, bytes):
            pieces.append(_piece(value))
        elif isinstance(value, bytes):
            spec, normalizer = (value if number == 2 else spec), (value if number == 3 else normalizer)
    if not 0 < len(pieces) <= MAX_VOCABULARY:
        raise wrong("it has no tokens, or too many", NAME)
    if dict(_fields(spec)).get(3, 1) != _BPE:
        raise wrong("only sentencepiece's BPE can be converted", NAME)
    settings = dict(_fields(normalizer))
    types = {number: kind for number, (_, _, kind) in enumerate(pieces)}
    texts, kinds = laid_out({number: text for number, (text, _, _) in enumerate(pieces)}, added(tokenizer), types)
    return Vocabulary(
        model="llama",
        tokens=texts,
        types=_kept(kinds, types),
        scores=[score for _, score, _ in pieces] + [-1000.0] * (len(texts) - len(pieces)),
        flags={
            "add_space_prefix": bool(settings.get(3, 1)),
            "remove_extra_whitespaces": bool(settings.get(4, 1)),
        },
        begins=begins(tokenizer),
    )


def from_json(tokenizer: Mapping[str, Any]) -> Vocabulary:
    """Scores are not in a tokenizer.json; the order of its merges says the same: the sooner, the higher."""
    model = tokenizer["model"]
    tokens = numbered(model.get("vocab"))
    scores: dict[str, float] = {}
    for rank, (left, right) in enumerate(merges(model)):
        scores.setdefault(left + right, -float(rank))
    unknown = model.get("unk_token")
    types: dict[int, int] = {
        number: TokenType.UNKNOWN if token == unknown else TokenType.BYTE
        for number, token in tokens.items()
        if token == unknown or _BYTE.fullmatch(token)
    }
    texts, kinds = laid_out(tokens, added(tokenizer), types)
    return Vocabulary(
        model="llama",
        tokens=texts,
        types=_kept(kinds, types),
        scores=[scores.get(text, -1e6) for text in texts],
        flags={"add_space_prefix": _prefixes(tokenizer), "remove_extra_whitespaces": False},
        begins=begins(tokenizer),
    )


def _kept(kinds: list[int], types: Mapping[int, int]) -> list[int]:
    """Bytes and the unknown token stay what they are although a tokenizer.json adds them once more."""
    firm = (TokenType.BYTE, TokenType.UNKNOWN)
    return [types[number] if types.get(number) in firm else kind for number, kind in enumerate(kinds)]


def _prefixes(tokenizer: Mapping[str, Any]) -> bool:
    """Whether a text gets a blank before its first word."""
    if any(step.get("type") == "Prepend" for step in steps(tokenizer.get("normalizer"))):
        return True
    spaces = [step for step in steps(tokenizer.get("pre_tokenizer")) if step.get("type") == "Metaspace"]
    return any(
        step.get("prepend_scheme", "always") != "never" and step.get("add_prefix_space", True) is not False
        for step in spaces
    )


def _piece(raw: bytes) -> tuple[str, float, int]:
    fields = dict(_fields(raw))
    text, score, kind = fields.get(1, b""), fields.get(2, 0), fields.get(3, 1)
    if not isinstance(text, bytes) or not isinstance(score, int) or kind not in tuple(TokenType):
        raise wrong("one of its tokens is damaged", NAME)
    value: float = struct.unpack("<f", struct.pack("<I", score))[0]
    return text.decode("utf-8", "replace"), value if math.isfinite(value) else -1e6, int(kind)


def _fields(raw: bytes) -> Iterator[tuple[int, Value]]:
    """A protobuf message's fields: numbers of bytes, and of 32 and 64 bits and varints as whole numbers."""
    position = 0
    while position < len(raw):
        key, position = _varint(raw, position)
        kind, length = key & 7, {_FIXED64: 8, _FIXED32: 4}.get(key & 7, 0)
        if kind == _VARINT:
            value, position = _varint(raw, position)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, position = _varint(raw, position)
        elif not length:
            raise _damaged()
        if length > len(raw) - position:
            raise _damaged()
        part = raw[position : position + length]
        position += length
        yield key >> 3, part if kind == _BYTES else int.from_bytes(part, "little")


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64 and position < len(raw):
        byte = raw[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
    raise _damaged()


def _damaged() -> Problem:
    return wrong("it is damaged", NAME)
