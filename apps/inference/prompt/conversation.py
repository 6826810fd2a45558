"""Which messages a job puts before the model. Pure. Source: the wire contract, sections 3.1, 4.1, 19.1 and 19.3."""

from dataclasses import dataclass, replace

from apps.inference.prompt.job import PromptJob
from apps.inference.types import Message


@dataclass(frozen=True)
class Conversation:
    """Messages for the template, and the beginning of the reply that the model is to continue."""

    messages: tuple[Message, ...]
    prefill: str = ""

    @property
    def last(self) -> int:
        """The place of the message that is never dropped."""
        return max(0, len(self.messages) - 1)

    def since(self, start: int) -> "Conversation":
        """Without what stands before `start`, but for its system messages."""
        systems = tuple(message for message in self.messages[:start] if message.role == "system")
        return replace(self, messages=systems + self.messages[start:])


def of(job: PromptJob) -> Conversation:
    return _chat(job) if job.kind == "chat" else _generate(job)


def public(system: str, stored: tuple[Message, ...], user: str) -> Conversation:
    """A version's own messages with one of a user's behind them."""
    return Conversation((*_system(system), *stored, Message("user", user)))


def _system(text: str) -> tuple[Message, ...]:
    return (Message("system", text),) if text else ()


def _chat(job: PromptJob) -> Conversation:
    replaced = bool(job.messages) and job.messages[0].role == "system"
    messages = (*_system("" if replaced else job.version_system), *job.stored, *job.messages)
    if messages and messages[-1].role == "assistant":
        return Conversation(messages[:-1], messages[-1].content)
    return Conversation(messages)


def _generate(job: PromptJob) -> Conversation:
    stored = () if job.context else job.stored
    return public(job.system or job.version_system, stored, job.prompt)
