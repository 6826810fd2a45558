"""Frames -> the lines of /api/generate, /api/chat and of jobs, byte by byte. Pure.

A text frame becomes a line for every token of every stream, so the parts that stay the same are made once per reply
and the rest is string concatenation (about 3 microseconds a line).
"""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from apps.errors import Problem

encode_text = json.encoder.encode_basestring  # C; a quoted JSON string, non-ASCII kept

_ESCAPES = (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))
_COUNTERS = (  # the wire's name, RunEnd's name; the order of the recordings
    ("load_duration", "load_ns"),
    ("prompt_eval_count", "prompt_tokens"),
    ("prompt_eval_duration", "prompt_ns"),
    ("eval_count", "output_tokens"),
    ("eval_duration", "eval_ns"),
)


def escape(dumped: str) -> str:
    """Go escapes these five inside strings, and JSON has them nowhere else."""
    for char, replacement in _ESCAPES:
        dumped = dumped.replace(char, replacement)
    return dumped


def dumps(value: Any) -> str:
    """Compact JSON as Go's encoder writes it; a datetime as RFC 3339."""
    return escape(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=moment))


def moment(when: object) -> str:
    """A point in time in UTC, trailing zeros trimmed."""
    if not isinstance(when, datetime):
        raise TypeError(f"{type(when).__name__} is nothing that JSON can say")
    text = when.astimezone(UTC).isoformat().removesuffix("+00:00")
    return (text.rstrip("0") if "." in text else text) + "Z"


def to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def line(value: Mapping[str, Any]) -> bytes:
    return to_bytes(dumps(value) + "\n")


def error_body(problem: Problem) -> dict[str, str]:
    """The envelope of the native API."""
    return {"error": problem.message}


class Clock:
    """RFC 3339 in UTC with nanoseconds, trailing zeros trimmed; the part down to the second is made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._prefix = ""

    def stamp(self, now_ns: int | None = None) -> str:
        second, fraction = divmod(time.time_ns() if now_ns is None else now_ns, 1_000_000_000)
        if second != self._second:
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._prefix}.{fraction:09d}".rstrip("0").rstrip(".") + "Z"


class Reply:
    """One reply of generate or chat, as it goes to one caller. `model` is what the caller typed."""

    def __init__(self, model: str, *, chat: bool, started_ns: int) -> None:
        """`started_ns`: time.perf_counter_ns() when the request arrived."""
        self._model = model
        self._chat = chat
        self._started_ns = started_ns
        self._clock = Clock()
        opening = '","message":{"role":"assistant","content":' if chat else '","response":'
        self._head = f'{{"model":{escape(encode_text(model))},"created_at":"'
        self._opening = opening
        self._closing = '},"done":false}\n' if chat else ',"done":false}\n'

    def text(self, text: str) -> bytes:
        """The line of one text frame."""
        body = escape(encode_text(text))
        return to_bytes(f"{self._head}{self._clock.stamp()}{self._opening}{body}{self._closing}")

    def last(self, end: Mapping[str, Any], text: str = "") -> dict[str, Any]:
        """The last object: `end` is the data of an END frame, `text` the whole answer when nothing was streamed."""
        reply = self._object(text, end["reason"])
        if end.get("context") and not self._chat:
            reply["context"] = list(end["context"])
        reply["total_duration"] = time.perf_counter_ns() - self._started_ns
        for name, source in _COUNTERS:
            if end.get(source):
                reply[name] = end[source]
        return reply

    def idle(self, reason: str) -> dict[str, Any]:
        """The answer to an empty prompt: "load" or "unload"."""
        return self._object("", reason)

    def _object(self, text: str, reason: str) -> dict[str, Any]:
        answer: dict[str, Any] = (
            {"message": {"role": "assistant", "content": text}} if self._chat else {"response": text}
        )
        return {
            "model": self._model,
            "created_at": self._clock.stamp(),
            **answer,
            "done": True,
            "done_reason": reason,
        }
