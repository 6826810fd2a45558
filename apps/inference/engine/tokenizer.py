"""A llama.cpp vocabulary as llguidance sees it. The vocabulary must outlive the tokenizer."""

import ctypes
from typing import Any

from llguidance import LLTokenizer

from apps.inference.engine.lib import held, lib

_UNKNOWN, _CONTROL, _USER_DEFINED = (
    lib.LLAMA_TOKEN_ATTR_UNKNOWN,
    lib.LLAMA_TOKEN_ATTR_CONTROL,
    lib.LLAMA_TOKEN_ATTR_USER_DEFINED,
)
_SPECIAL = b"\xff"  # llguidance's mark of a token that is no text; no UTF-8 has this byte
_attribute, _ends = held("llama_vocab_get_attr"), held("llama_vocab_is_eog")
_to_piece = held("llama_token_to_piece")


def make(vocabulary: Any) -> LLTokenizer:
    """Takes most of a second with a large vocabulary: make it once a model."""
    size = lib.llama_vocab_n_tokens(vocabulary)
    ends = [token for token in range(size) if _ends(vocabulary, token)]
    return LLTokenizer.from_llamacpp(  # type: ignore[attr-defined, no-any-return]
        tokens=[_entry(vocabulary, token) for token in range(size)],
        vocab_ptr=vocabulary,
        tokenize_fptr=ctypes.cast(lib._lib.llama_tokenize, ctypes.c_void_p).value,
        eos_token=ends or lib.llama_vocab_eos(vocabulary),
        slices=None,
    )


def render(vocabulary: Any, token: int, *, special: bool) -> bytes:
    """The token's bytes; those of a control token only with `special`."""
    buffer = ctypes.create_string_buffer(64)
    length = _to_piece(vocabulary, token, buffer, len(buffer), 0, special)
    if length < 0:
        buffer = ctypes.create_string_buffer(-length)
        length = _to_piece(vocabulary, token, buffer, len(buffer), 0, special)
    return buffer.raw[:length]


def _entry(vocabulary: Any, token: int) -> bytes:
    piece = render(vocabulary, token, special=True)
    attribute = _attribute(vocabulary, token)
    marker = attribute & _USER_DEFINED and piece[:1] == b"<" and piece[-1:] == b">"
    return _SPECIAL + piece if attribute & (_CONTROL | _UNKNOWN) or marker else piece
