"""The content of one message, a string or blocks -> what it says, shows, thinks, calls and answers. Pure.

Texts are concatenated, as Ollama does. What cannot be read is refused where leaving it out would change what was
asked (a PDF, an image by address); other blocks that are unknown here are passed over, as Ollama does too.
"""

import base64
import binascii
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Final

from apps.api.anthropic.errors import Refusal
from apps.api.anthropic.fields import Fields
from apps.inference.types import Message, ToolCall

UNREADABLE: Final = {"container_upload": "this server keeps no files"}
FAILED: Final = "Error: "

Calls = MutableMapping[str, str]  # the calls so far: id -> name of the tool


@dataclass
class Content:
    """`images` are base64 texts as they were sent. `results` answer calls of an earlier message."""

    texts: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    results: list[Message] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.texts)


def read(holder: Fields, calls: Calls) -> Content:
    """The `content` of `holder`, which may be absent. Calls are noted in `calls`, results take their names from it."""
    given, content = holder.given("content"), Content()
    if isinstance(given, str):
        content.texts.append(given)
        return content
    if given is not None and not isinstance(given, list):
        raise holder.wrong("content", "a string or a list of blocks")
    for block in holder.objects("content"):
        _take(block, content, calls)
    return content


def text_of(holder: Fields, name: str) -> str:
    """A text, or blocks of nothing but text (`system`)."""
    given = holder.given(name)
    if given is None or isinstance(given, str):
        return given or ""
    if not isinstance(given, list):
        raise holder.wrong(name, "a string or a list of text blocks")
    return "".join(_only_text(block) for block in holder.objects(name))


def image(block: Fields) -> str:
    """The base64 text of an image block. Nothing is ever fetched from anywhere."""
    source = block.given("source")
    if not isinstance(source, dict):
        raise Refusal("invalid image source")
    kind, data = source.get("type"), source.get("data")
    if kind != "base64":
        raise Refusal(f"invalid image source type: {kind}. Only base64 images are supported.")
    if not isinstance(data, str):
        raise Refusal("invalid image source")
    decoded(data)
    return data


def decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(f"invalid base64 image data: {error}") from error


def _take(block: Fields, content: Content, calls: Calls) -> None:
    kind = block.needed("type")
    if kind in UNREADABLE:
        raise Refusal(f"{block.place('type')}: {UNREADABLE[kind]}")
    if kind == "text":
        content.texts.append(block.needed("text"))
    elif kind == "thinking":
        content.thinking.append(block.text("thinking"))
    elif kind == "image":
        content.images.append(image(block))
    elif kind == "tool_use":
        content.calls.append(_call(block, calls))
    elif kind == "tool_result":
        content.results.append(_result(block, calls))
    elif kind == "document":
        content.texts.append(_document(block))
    elif kind == "search_result":
        content.texts.append(_found(block))


def _only_text(block: Fields) -> str:
    if block.needed("type") != "text":
        raise block.wrong("type", "'text'")
    return block.needed("text")


def _call(block: Fields, calls: Calls) -> ToolCall:
    identity, name = block.text("id"), block.text("name")
    for given, which in ((identity, "id"), (name, "name")):
        if not given:
            raise Refusal(f"tool_use block missing required '{which}' field")
    calls[identity] = name
    arguments = block.inner("input")
    return ToolCall(name=name, arguments=arguments.data if arguments else {}, id=identity)


def _result(block: Fields, calls: Calls) -> Message:
    """A message of the role "tool". Templates have no place for `is_error`, so the text says it."""
    identity = block.text("tool_use_id")
    if not identity:
        raise Refusal("tool_result block missing required 'tool_use_id' field")
    said = read(block, {})
    text = f"{FAILED}{said.text}" if block.flag("is_error") else said.text
    name = calls.get(identity, "")
    return Message("tool", text, images=tuple(said.images), tool_name=name, tool_call_id=identity)


def _document(block: Fields) -> str:
    source = block.inner("source")
    kind = source.text("type") if source else ""
    if source and kind == "text":
        body = source.needed("data")
    elif source and kind == "content":
        body = text_of(source, "content")
    else:
        raise Refusal(f"{block.place('source')}: this server reads documents of plain text only")
    return _lines(block.text("title"), block.text("context"), body)


def _found(block: Fields) -> str:
    return _lines(block.text("title"), block.text("source"), text_of(block, "content"))


def _lines(*parts: str) -> str:
    return "\n".join(part for part in parts if part)
