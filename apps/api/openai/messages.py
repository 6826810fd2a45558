"""The messages of a chat -> messages of inference (contract, section 13.2). Pure but for the check of images.

Ollama makes a message of each part of a content array; here, as with OpenAI, an array is one message: its texts are
joined by line breaks, its images go with it. `developer` is `system` by its newer name.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from apps.api import images
from apps.api.fields import loads
from apps.api.openai.errors import Refusal
from apps.api.openai.fields import Fields, go_type
from apps.inference.types import Message, ToolCall

DATA_URL: Final = re.compile(r"data:(?:image/(?:jpeg|jpg|png|webp|gif))?;base64,")
REMOTE: Final = "image URLs are not currently supported, please use base64 encoded data instead"
ROLES: Final = {"developer": "system", "function": "tool"}


def read(body: Fields) -> tuple[Message, ...]:
    """The conversation. Images are still what was sent: `checked` looks at them, once the model is known."""
    if not body.list("messages"):
        raise Refusal("[] is too short - 'messages'", param="messages")
    messages: list[Message] = []
    for item in body.objects("messages"):
        messages.append(_message(item, messages))
    return tuple(messages)


def checked(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The same with every image decoded, bounded and in a format that the runner reads."""
    images.check_count(sum(len(message.images) for message in messages))
    return tuple(_with_checked_images(message) for message in messages)


def has_images(messages: Iterable[Message]) -> bool:
    return any(message.images for message in messages)


def image(url: object, place: str) -> str:
    """The base64 text of a data URL. Nothing is ever fetched from anywhere."""
    text = url if isinstance(url, str) else ""
    if text.startswith(("http://", "https://")):
        raise Refusal(REMOTE, param=place)
    match = DATA_URL.match(text)
    if match is None:
        raise Refusal("invalid image input", param=place)
    return text[match.end() :]


def tool_name(call_id: str, earlier: Iterable[Message]) -> str:
    """The name of the last call before with this id, or ""."""
    names = [call.name for message in earlier for call in message.tool_calls if call.id == call_id]
    return names[-1] if names else ""


def arguments(text: object, place: str, sentence: str = "invalid tool call arguments") -> dict[str, Any]:
    """A call's arguments: a JSON object, written as a string."""
    try:
        value = loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError) as error:
        raise Refusal(sentence, param=place) from error
    if not isinstance(value, dict):
        raise Refusal(sentence, param=place)
    return value


def _message(item: Fields, earlier: Sequence[Message]) -> Message:
    role = item.text("role").lower()
    if not role:
        raise item.missing("role")
    calls = tuple(_call(call) for call in item.objects("tool_calls"))
    content, pictures = _content(item, may_be_empty=bool(calls))
    return Message(
        role=ROLES.get(role, role),
        content=content,
        thinking=item.text("reasoning") or item.text("reasoning_content"),
        images=pictures,
        tool_calls=calls,
        tool_name=_answered(item, role, earlier),
        tool_call_id=item.text("tool_call_id"),
    )


def _answered(item: Fields, role: str, earlier: Sequence[Message]) -> str:
    """The tool whose result this message is."""
    if ROLES.get(role, role) != "tool":
        return ""
    return item.text("name") or tool_name(item.text("tool_call_id"), earlier)


def _call(call: Fields) -> ToolCall:
    function = call.inner("function")
    if function is None:
        raise call.missing("function")
    name = function.text("name")
    if not name:
        raise function.missing("name")
    given = arguments(function.given("arguments"), function.place("arguments"))
    return ToolCall(name=name, arguments=given, id=call.text("id"))


def _content(item: Fields, *, may_be_empty: bool) -> tuple[str, tuple[str, ...]]:
    value = item.given("content")
    if isinstance(value, str):
        return value, ()
    if isinstance(value, list):
        return _parts(item)
    if value is None and (may_be_empty or item.text("refusal")):
        return item.text("refusal"), ()
    raise Refusal(f"invalid message content type: {go_type(value)}", param=item.place("content"))


def _parts(item: Fields) -> tuple[str, tuple[str, ...]]:
    texts: list[str] = []
    pictures: list[str] = []
    for part in item.objects("content"):
        kind = part.text("type")
        if kind in {"text", "refusal"}:
            texts.append(part.text(kind))
        elif kind == "image_url":
            pictures.append(_picture(part))
        elif kind == "input_audio":
            raise Refusal("this server does not take audio", param=part.place("input_audio"))
        else:
            raise Refusal("invalid message format", param=part.place("type"))
    return "\n".join(texts), tuple(pictures)


def _picture(part: Fields) -> str:
    """`{"url": "data:…"}`, or the bare URL as Ollama takes it too."""
    given = part.given("image_url")
    return image(given.get("url") if isinstance(given, dict) else given, part.place("image_url"))


def _with_checked_images(message: Message) -> Message:
    if not message.images:
        return message
    return replace(message, images=tuple(images.check(_decoded(text)) for text in message.images))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal("invalid image input", param="messages") from error
