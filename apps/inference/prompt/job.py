"""What the render child is asked for, and what it gives back. Pure; both cross a pipe as JSON."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from apps.inference.parsing.reply import Reply
from apps.inference.types import Message, RunKind

_TEXTS = ("version_system", "version_template", "system", "prompt", "suffix", "template")


@dataclass(frozen=True)
class PromptJob:
    """A request beside what its model's version brings.

    `stored`, `version_system` and `version_template` are the model's MESSAGEs, SYSTEM and TEMPLATE, the same for all
    its users; everything else is the request's. `template` is the Go template to use (the request's, else the
    version's); only a version's own makes a prefix that users may share. `model` is the full name, for error texts;
    `share_key` names whose the request is: what was tokenised for one is used again for the same alone.
    Lengths are in tokens; a negative `num_keep` keeps all of the prompt's front. Of images only their number crosses
    the pipe. `inputs` are the texts of an "embed". `think` None leaves the choice to the template.
    """

    kind: RunKind
    num_ctx: int
    messages: tuple[Message, ...] = ()
    stored: tuple[Message, ...] = ()
    version_system: str = ""
    system: str = ""
    prompt: str = ""
    raw: bool = False
    context: tuple[int, ...] = ()
    truncate: bool = True
    shift: bool = True
    num_keep: int = 4
    template: str = ""
    version_template: str = ""
    suffix: str = ""
    images: tuple[str, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str = "auto"
    think: bool | str | None = None
    inputs: tuple[str, ...] = ()
    render_only: bool = False
    model: str = ""
    share_key: str = ""

    @property
    def characters(self) -> int:
        """How much text the job holds."""
        said = sum(_length(message) for message in (*self.messages, *self.stored))
        tools = sum(len(json.dumps(tool, ensure_ascii=False)) for tool in self.tools)
        return said + tools + sum(len(getattr(self, name)) for name in _TEXTS) + sum(map(len, self.inputs))

    @property
    def offered(self) -> tuple[dict[str, Any], ...]:
        """The tools that the model is told of."""
        return () if self.tool_choice == "none" else self.tools

    def as_data(self) -> dict[str, Any]:
        data = {field.name: getattr(self, field.name) for field in fields(self)}
        said = {"messages": _said(self.messages), "stored": _said(self.stored)}
        return {**data, **said, "images": [""] * len(self.images)}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "PromptJob":
        said = {name: tuple(map(Message.from_data, data[name])) for name in ("messages", "stored")}
        lists = {name: tuple(data[name]) for name in ("context", "images", "tools", "inputs")}
        return cls(**{**data, **said, **lists})


@dataclass(frozen=True)
class Prompt:
    """Tokens that fit the context, and how they came to be.

    `text` is the rendered text of the kept messages (before any cut). Only where nothing but the prompt was asked for
    it has the text of an earlier reply's `context` before it, and then there are no `tokens`.
    `public_tokens` counts the leading tokens that any user of the version gets: they alone may be shared between
    users. `dropped_tokens` are missing from the prompt, through dropped messages and through a cut middle together.
    `images` counts those whose place `[img-N]` is still in the text: N is an image's place among all that the request
    brought, message after message, from 0. Among the tokens -1 - N stands for it. `reply` says how to read the answer;
    None: all of it is text. `length` counts the tokens of the whole prompt, dropped ones too, where nothing but the
    prompt of a conversation was asked for. `inputs` are an embedding's texts, each as its tokens with the vocabulary's
    own first and last.
    """

    tokens: tuple[int, ...]
    text: str
    public_tokens: int = 0
    dropped_messages: int = 0
    dropped_tokens: int = 0
    images: int = 0
    reply: Reply | None = None
    inputs: tuple[tuple[int, ...], ...] = ()
    length: int = 0

    def as_data(self) -> dict[str, Any]:
        data = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**data, "reply": self.reply.as_data() if self.reply else None}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "Prompt":
        reply = Reply.from_data(data["reply"]) if data["reply"] else None
        inputs = tuple(map(tuple, data["inputs"]))
        return cls(**{**data, "tokens": tuple(data["tokens"]), "reply": reply, "inputs": inputs})


def _length(message: Message) -> int:
    calls = sum(len(call.name) + len(json.dumps(call.arguments)) for call in message.tool_calls)
    return calls + sum(map(len, (message.role, message.content, message.thinking, message.tool_name)))


def _said(messages: Iterable[Message]) -> list[dict[str, Any]]:
    return [_message(message) for message in messages]


def _message(message: Message) -> dict[str, Any]:
    """Without what is empty: most messages are a role and a text."""
    data = {name: value for name, value in vars(message).items() if value}
    data |= {"role": message.role, "images": [""] * len(message.images)}
    if message.tool_calls:
        data["tool_calls"] = [vars(call) for call in message.tool_calls]
    return data
