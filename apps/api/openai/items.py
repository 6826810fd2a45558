"""The `input` of a response -> messages of inference (contract, section 13.6). Pure."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from apps.api.fields import said
from apps.api.openai import messages
from apps.api.openai.errors import Refusal
from apps.api.openai.fields import Fields
from apps.inference.types import Message, ToolCall

TEXTS: Final = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}


def read(body: Fields) -> tuple[Message, ...]:
    """The instructions first, as a system message. Images are still what was sent."""
    found: list[Message] = []
    if instructions := body.text("instructions"):
        found.append(Message("system", instructions))
    given = body.given("input")
    if isinstance(given, str):
        return (*found, Message("user", given))
    if not isinstance(given, list):
        raise Refusal(f"input must be a string or array: it is {said(given)}", param="input")
    reading = _Reading(found)
    for at, item in enumerate(body.objects("input")):
        reading.take(item, at)
    return tuple(reading.done())


class _Reading:
    """Items in their order. What was thought waits for the assistant's message that follows it."""

    def __init__(self, found: list[Message]) -> None:
        self._messages = found
        self._thinking = ""
        self._readers: Mapping[str, Callable[[Fields], None]] = {
            "message": self._message,
            "function_call": self._call,
            "function_call_output": self._result,
            "reasoning": self._reasoning,
            "web_search_call": lambda item: None,
        }

    def take(self, item: Fields, at: int) -> None:
        kind = item.text("type") or ("message" if item.text("role") else "")
        if not kind:
            raise Refusal(f"input[{at}]: input item missing required 'type' field", param=item.where)
        if kind not in self._readers:
            raise Refusal(f'input[{at}]: unknown input item type: "{kind}"', param=item.place("type"))
        self._readers[kind](item)

    def done(self) -> list[Message]:
        if self._thinking:
            self._messages.append(Message("assistant", thinking=self._thinking))
        if not self._messages:
            raise Refusal("[] is too short - 'input'", param="input")
        return self._messages

    def _message(self, item: Fields) -> None:
        role = item.text("role").lower()
        if not role:
            raise item.missing("role")
        text, pictures = _content(item, "content")
        role = messages.ROLES.get(role, role)
        self._messages.append(Message(role, text, thinking=self._thought(role), images=pictures))

    def _call(self, item: Fields) -> None:
        name = item.text("name")
        if not name:
            raise item.missing("name")
        given = item.text("arguments")
        place = item.place("arguments")
        sentence = "failed to parse function call arguments: they must be a JSON object in a string"
        call = ToolCall(name, messages.arguments(given, place, sentence), item.text("call_id"))
        last = self._messages[-1] if self._messages else None
        if last is not None and last.role == "assistant" and not self._thinking:
            self._messages[-1] = replace(last, tool_calls=(*last.tool_calls, call))
        else:
            self._messages.append(Message("assistant", thinking=self._thought("assistant"), tool_calls=(call,)))

    def _result(self, item: Fields) -> None:
        call_id = item.text("call_id")
        text, pictures = _content(item, "output")
        name = messages.tool_name(call_id, self._messages)
        self._messages.append(Message("tool", text, images=pictures, tool_name=name, tool_call_id=call_id))

    def _reasoning(self, item: Fields) -> None:
        summary = "\n".join(part.text("text") for part in item.objects("summary"))
        self._thinking += item.text("encrypted_content") or summary

    def _thought(self, role: str) -> str:
        if role != "assistant":
            return ""
        thinking, self._thinking = self._thinking, ""
        return thinking


def _content(item: Fields, name: str) -> tuple[str, tuple[str, ...]]:
    value = item.given(name)
    if value is None or isinstance(value, str):
        return value or "", ()
    texts: list[str] = []
    pictures: list[str] = []
    for at, part in enumerate(item.objects(name)):
        kind = part.text("type")
        if kind in TEXTS:
            texts.append(part.text(TEXTS[kind]))
        elif kind == "input_image":
            pictures.append(messages.image(part.given("image_url"), part.place("image_url")))
        elif kind == "input_file":
            raise Refusal("file inputs are not currently supported", param=part.where)
        else:
            raise Refusal(f"{name}[{at}]: unknown content type: {kind}", param=part.place("type"))
    return "\n".join(texts), tuple(pictures)
