"""What the render child is asked for, and what it gives back. Pure; both cross a pipe as JSON."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from apps.inference.types import Message, RunKind


@dataclass(frozen=True)
class PromptJob:
    """A request beside what its model's version brings.

    `stored` and `version_system` are the model's MESSAGEs and SYSTEM, the same for all its users; everything else is
    the request's. Lengths are in tokens; a negative `num_keep` keeps all of the prompt's front.
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

    @property
    def characters(self) -> int:
        """How much text the job holds."""
        texts = (self.version_system, self.system, self.prompt)
        said = (*self.messages, *self.stored)
        return sum(map(len, texts)) + sum(len(message.content) + len(message.role) for message in said)

    def as_data(self) -> dict[str, Any]:
        data = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**data, "messages": _pairs(self.messages), "stored": _pairs(self.stored)}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "PromptJob":
        said = {name: tuple(Message(*pair) for pair in data[name]) for name in ("messages", "stored")}
        return cls(**{**data, **said, "context": tuple(data["context"])})


@dataclass(frozen=True)
class Prompt:
    """Tokens that fit the context, and how they came to be.

    `text` is the rendered text of the kept messages (without an earlier reply's `context`, before any cut).
    `public_tokens` counts the leading tokens that any user of the version gets: they alone may be shared between
    users. `dropped_tokens` are missing from the prompt, through dropped messages and through a cut middle together.
    """

    tokens: tuple[int, ...]
    text: str
    public_tokens: int = 0
    dropped_messages: int = 0
    dropped_tokens: int = 0

    def as_data(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "Prompt":
        return cls(**{**data, "tokens": tuple(data["tokens"])})


def _pairs(messages: Iterable[Message]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]
