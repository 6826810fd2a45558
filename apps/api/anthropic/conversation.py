"""`system` and `messages` of a body -> messages of inference (contract, section 14)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from apps.api import images
from apps.api.anthropic import blocks
from apps.api.anthropic.errors import Refusal
from apps.api.anthropic.fields import Fields
from apps.inference.types import Message

ROLES: Final = ("user", "assistant", "system")


def read(body: Fields) -> tuple[Message, ...]:
    """The conversation, never empty. Its images are as they were sent: `checked` is for when the model is known."""
    if body.given("messages") in (None, []):
        raise Refusal("messages is required")
    system = blocks.text_of(body, "system")
    calls: blocks.Calls = {}
    said = [message for item in body.objects("messages") for message in _messages(item, calls)]
    return (*([Message("system", system)] if system else []), *said)


def checked(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The same with every image decoded, bounded and in a format that the runner reads."""
    sent = [[blocks.decoded(text) for text in message.images] for message in messages]
    images.check_all([image for group in sent for image in group])
    return tuple(
        replace(message, images=tuple(map(images.check, group))) if group else message
        for message, group in zip(messages, sent, strict=True)
    )


def has_images(messages: Iterable[Message]) -> bool:
    return any(message.images for message in messages)


def _messages(item: Fields, calls: blocks.Calls) -> Iterator[Message]:
    """Results of tools come before what else the message says, as templates want them behind their calls."""
    role = item.needed("role")
    if role not in ROLES:
        raise item.wrong("role", "'user' or 'assistant'")
    if item.given("content") is None:
        raise item.missing("content")
    content = blocks.read(item, calls)
    yield from content.results
    if content.results and not (content.text or content.images or content.calls):
        return
    yield Message(
        role=role,
        content=content.text,
        thinking="".join(content.thinking),
        images=tuple(content.images),
        tool_calls=tuple(content.calls),
    )
