"""Messages as the dictionaries that chat templates expect. Pure.

A call of a tool is where templates differ: most want its arguments as an object and say so by failing, or by printing
Python, otherwise; some want a JSON text, some a content of None, Mistral's an id of nine letters. Which shape a
template wants is found by showing it one short talk in each.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from apps.inference.prompt.sandbox import TemplateError
from apps.inference.types import Message, ToolCall

_KEY, _VALUE, _ANSWER = "needlekey", "needlevalue", "needleanswer"
_NINE = 9
_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True)
class Shape:
    """How a message with calls is written: `text` arguments, `none` for an empty content, `nine`-letter ids."""

    text: bool = False
    none: bool = False
    nine: bool = False


PLAIN = Shape()
_TALK = (
    Message("user", "needleuser"),
    Message("assistant", tool_calls=(ToolCall("needlename", {_KEY: _VALUE}, "call_needle00"),)),
    Message("tool", _ANSWER, tool_name="needlename", tool_call_id="call_needle00"),
)


def find(render: Callable[[list[dict[str, Any]]], str]) -> Shape:
    """The first shape in which a call arrives whole; the plain one where none does."""
    for text, nine, none in product((False, True), repeat=3):
        shape = Shape(text=text, none=none, nine=nine)
        try:
            written = render(messages(_TALK, shape))
        except TemplateError:
            continue
        if _arrived(written):
            return shape
    return PLAIN


def _arrived(written: str) -> bool:
    """The call and its answer are there, and the arguments neither in Python's spelling nor as JSON within JSON."""
    whole = all(needle in written for needle in (_KEY, _VALUE, _ANSWER))
    return whole and f"{{'{_KEY}'" not in written and f'\\"{_KEY}' not in written


def messages(said: Sequence[Message], shape: Shape = PLAIN, *, harmony: bool = False) -> list[dict[str, Any]]:
    """`harmony` templates take what was thought before a call or what was said, not both."""
    named = _Named()
    return [_message(message, shape, named, harmony) for message in said]


def _message(message: Message, shape: Shape, named: "_Named", harmony: bool) -> dict[str, Any]:
    data: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.thinking:
        data |= {"reasoning_content": message.thinking, "thinking": message.thinking}
    if message.tool_calls:
        data["tool_calls"] = [_call(call, shape, named) for call in message.tool_calls]
        if harmony and message.thinking:
            data["content"] = ""
        elif shape.none and not message.content:
            data["content"] = None
    if message.role == "tool":
        data |= named.answer(message, shape)
    return data


def _call(call: ToolCall, shape: Shape, named: "_Named") -> dict[str, Any]:
    arguments = json.dumps(call.arguments, ensure_ascii=False) if shape.text else call.arguments
    data: dict[str, Any] = {"type": "function", "function": {"name": call.name, "arguments": arguments}}
    if identity := named.call(call, shape):
        data["id"] = identity
    return data


class _Named:
    """Which call an answer belongs to: clients send its id or its name, and templates want the one or the other."""

    def __init__(self) -> None:
        self._calls: list[tuple[str, str]] = []  # id, name: those without an answer

    def call(self, call: ToolCall, shape: Shape) -> str:
        identity = _nine(call.id or f"{call.name} {len(self._calls)}") if shape.nine else call.id
        self._calls.append((identity, call.name))
        return identity

    def answer(self, message: Message, shape: Shape) -> dict[str, str]:
        wanted = message.tool_call_id
        if wanted and shape.nine:
            wanted = _nine(wanted)
        identity, name = self._find(wanted, message.tool_name)
        found = {"name": message.tool_name or name, "tool_call_id": wanted or identity}
        return {key: value for key, value in found.items() if value}

    def _find(self, identity: str, name: str) -> tuple[str, str]:
        for place, call in enumerate(self._calls):
            if (not identity or call[0] == identity) and (not name or call[1] == name):
                return self._calls.pop(place)
        return "", ""


def _nine(text: str) -> str:
    """Nine letters for an id, always the same for the same; nine of these letters stay as they are."""
    if len(text) == _NINE and text.isascii() and text.isalnum():
        return text
    digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
    return "".join(_ID_LETTERS[byte % len(_ID_LETTERS)] for byte in digest[:_NINE])
