"""JSON in one line, for the streams of the dialects that are not Ollama's. Pure."""

import json
from typing import Any, Final

BREAKS: Final = (("\u2028", "\\u2028"), ("\u2029", "\\u2029"), ("\x85", "\\u0085"))  # some clients split lines at them

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def dumps(value: Any) -> str:
    """Compact JSON in one line, by whatever rule a reader splits lines."""
    text = _encode(value)
    if not text.isascii():
        for char, escaped in BREAKS:
            text = text.replace(char, escaped)
    return text


def to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
