"""Which messages a job puts before the model. Pure. Source: the wire contract, sections 3.1, 4.1, 19.1 and 19.3."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from apps.inference.prompt import places
from apps.inference.prompt.job import PromptJob
from apps.inference.types import Message

_IMAGE = "[img]"


@dataclass(frozen=True)
class Conversation:
    """Messages for the template, and the beginning of the reply that the model is to continue."""

    messages: tuple[Message, ...]
    begun: Message | None = None

    @property
    def last(self) -> int:
        """The place of the message that is never dropped."""
        return max(0, len(self.messages) - 1)

    @property
    def images(self) -> int:
        return sum(len(message.images) for message in self.messages)

    def since(self, start: int) -> "Conversation":
        """Without what stands before `start`, but for its system messages."""
        systems = tuple(message for message in self.messages[:start] if message.role == "system")
        return replace(self, messages=systems + self.messages[start:])


def of(job: PromptJob) -> Conversation:
    return _chat(job) if job.kind == "chat" else _generate(job)


def public(system: str, stored: tuple[Message, ...], user: str) -> Conversation:
    """A version's own messages with one of a user's behind them."""
    return Conversation((*_system(system), *stored, Message("user", user)))


def with_marks(text: str, images: int) -> str:
    """A prompt without a template: its own marks stand, and where it has none they are put before it."""
    if places.marked(text, images):
        return text
    (message,) = _placed((Message("user", text, images=("",) * images),))
    return message.content


def _system(text: str) -> tuple[Message, ...]:
    return (Message("system", text),) if text else ()


def _chat(job: PromptJob) -> Conversation:
    replaced = bool(job.messages) and job.messages[0].role == "system"
    messages = tuple(_placed((*_system("" if replaced else job.version_system), *job.stored, *job.messages)))
    # A begun reply with nothing before it is a message like others: most templates look at the first one.
    if len(messages) > 1 and messages[-1].role == "assistant" and not messages[-1].tool_calls:
        return Conversation(messages[:-1], messages[-1])
    return Conversation(messages)


def _generate(job: PromptJob) -> Conversation:
    stored = () if job.context else job.stored
    asked = Message("user", job.prompt, images=job.images)
    return Conversation(tuple(_placed((*_system(job.system or job.version_system), *stored, asked))))


def _placed(messages: Iterable[Message]) -> Iterator[Message]:
    """Each image gets its mark `[img-N]`: where the text has one without a number, else before the text."""
    seen = 0
    for message in messages:
        if not message.images:
            yield message
            continue
        text, before = message.content, ""
        for number in range(seen, seen + len(message.images)):
            if _IMAGE in text:
                text = text.replace(_IMAGE, f"[img-{number}]", 1)
            else:
                before += f"[img-{number}]"
        seen += len(message.images)
        yield replace(message, content=before + text)
