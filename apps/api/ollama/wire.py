"""Frames -> the lines of /api/generate, /api/chat and of jobs, byte by byte. Pure.

A plain text frame becomes a line for every token of every stream, so the parts that stay the same are made once per
reply and the rest is string concatenation (about 3 microseconds a line). Whatever says more goes through a dict.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    ("prompt_dropped_count", "dropped_tokens"),  # ours: tokens of the prompt that did not fit
)
_LEAST_LOGPROB = -9999.0  # for what has no chance at all: JSON has no infinity

Data = Mapping[str, Any]


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


@dataclass(frozen=True)
class Said:
    """What one line says, or a whole reply. `calls` and `logprobs` are as in the frames."""

    text: str = ""
    thinking: str = ""
    calls: Sequence[Data] = ()
    logprobs: Sequence[Data] = ()


class Reply:
    """One reply of generate or chat, as it goes to one caller. `model` is what the caller typed."""

    def __init__(self, model: str, *, chat: bool, started_ns: int) -> None:
        """`started_ns`: time.perf_counter_ns() when the request arrived."""
        self._model = model
        self._chat = chat
        self._started_ns = started_ns
        self._clock = Clock()
        self._calls = 0
        opening = '","message":{"role":"assistant","content":' if chat else '","response":'
        self._head = f'{{"model":{escape(encode_text(model))},"created_at":"'
        self._opening = opening
        self._closing = '},"done":false}\n' if chat else ',"done":false}\n'

    def text(self, text: str) -> bytes:
        """The line of one text frame that has nothing but its text."""
        body = escape(encode_text(text))
        return to_bytes(f"{self._head}{self._clock.stamp()}{self._opening}{body}{self._closing}")

    def line(self, said: Said) -> bytes:
        """The line of any other frame."""
        reply = {**self._object(said), "done": False}
        if said.logprobs:
            reply["logprobs"] = [_logprob(each) for each in said.logprobs]
        return line(reply)

    def last(self, end: Data, said: Said = Said()) -> dict[str, Any]:  # noqa: B008  (frozen)
        """The last object: `end` is the data of an END frame, `said` the whole answer when nothing was streamed."""
        reply = {**self._object(said), "done": True, "done_reason": end["reason"]}
        if end.get("context") and not self._chat:
            reply["context"] = list(end["context"])
        reply["total_duration"] = time.perf_counter_ns() - self._started_ns
        for name, source in _COUNTERS:
            if end.get(source):
                reply[name] = end[source]
        if said.logprobs:
            reply["logprobs"] = [_logprob(each) for each in said.logprobs]
        return reply

    def idle(self, reason: str) -> dict[str, Any]:
        """The answer to an empty prompt: "load" or "unload"."""
        return {**self._object(Said()), "done": True, "done_reason": reason}

    def rendered(self, frame: Data) -> dict[str, Any]:
        """The answer to `_debug_render_only`: `frame` is the data of a RENDERED frame."""
        answer: dict[str, Any] = {"message": {"role": "", "content": ""}} if self._chat else {"response": ""}
        info = {"rendered_template": frame["text"]}
        if frame.get("images"):
            info["image_count"] = frame["images"]
        return {**self._opened(), **answer, "done": False, "_debug_info": info}

    def _object(self, said: Said) -> dict[str, Any]:
        extras: dict[str, Any] = {"thinking": said.thinking} if said.thinking else {}
        if said.calls:
            extras["tool_calls"] = [self._call(call) for call in said.calls]
        if self._chat:
            return {**self._opened(), "message": {"role": "assistant", "content": said.text, **extras}}
        return {**self._opened(), "response": said.text, **extras}

    def _opened(self) -> dict[str, Any]:
        return {"model": self._model, "created_at": self._clock.stamp()}

    def _call(self, call: Data) -> dict[str, Any]:
        """One call; `index` counts over the whole reply."""
        index, self._calls = self._calls, self._calls + 1
        function = {"index": index, "name": call["name"], "arguments": _finite(call["arguments"])}
        return {"id": call["id"], "function": function} if call.get("id") else {"function": function}


def _logprob(item: Data) -> dict[str, Any]:
    """Bytes are left out of an empty token, the alternatives where nobody asked for them."""
    said = _one_logprob(item)
    if item.get("top"):
        said["top_logprobs"] = [_one_logprob(other) for other in item["top"]]
    return said


def _one_logprob(item: Data) -> dict[str, Any]:
    value = item["logprob"]
    said = {"token": item["token"], "logprob": value if math.isfinite(value) else _LEAST_LOGPROB}
    return {**said, "bytes": item["bytes"]} if item.get("bytes") else said


def _finite(value: Any) -> Any:
    """A model may write 1e999 as an argument: what JSON cannot say is null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
