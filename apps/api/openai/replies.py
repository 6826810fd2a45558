"""What the replies of chats and completions share: the choices of one answer and how the last of them closes it.

A run's entries carry apps.streams.joined.PART where the answer is made of several; PART_END ends each of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpResponse

from apps.api.inference import broken_off
from apps.api.openai import errors, wire
from apps.errors import Problem
from apps.inference.types import END, ERROR, TEXT, THINKING, TOOL_CALLS
from apps.streams.joined import PART, PART_END
from apps.streams.log import Entry


@dataclass
class Choice:
    """What one run has said so far. `logprobs` are those of the text."""

    index: int
    text: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    end: Mapping[str, Any] | None = None
    begun: bool = False

    @property
    def finish_reason(self) -> str:
        return wire.finish_reason(self.end["reason"] if self.end else "", called=bool(self.calls))


@dataclass(frozen=True)
class Style:
    """How the caller wants it. `per_prompt` choices answer one prompt; `prefixes` are echoed before the choices."""

    model: str
    choices: int = 1
    per_prompt: int = 1
    include_usage: bool = False
    single_call: bool = False
    logprobs: bool = False
    prefixes: tuple[str, ...] = ()


class ChoicesRenderer(ABC):
    """A renderer of apps.streams.pending; subclasses write a choice's pieces and the whole."""

    content_type = wire.EVENTS

    def __init__(self, style: Style, *, prefix: str) -> None:
        self.style = style
        self.id = wire.new_id(prefix)
        self.created = wire.now()
        self.choices = [Choice(index) for index in range(style.choices)]

    def lines(self, entry: Entry) -> Iterable[bytes]:
        if entry.kind == ERROR:
            return (wire.error_event(Problem.from_data(entry.data)),)
        if entry.kind == END and "reason" not in entry.data:
            return self.close()
        choice = self.choices[entry.data.get(PART, 0)]
        if entry.kind in {END, PART_END}:
            return self._end(choice, entry)
        if entry.kind in {TEXT, THINKING}:
            return self.said(choice, entry)
        return self.called(choice, self.wanted(choice, entry.data["calls"])) if entry.kind == TOOL_CALLS else ()

    def whole(self, entries: Sequence[Entry]) -> HttpResponse:
        for entry in entries:
            self._note(entry)
        for choice in self.choices:
            problem = broken_off(choice.end["reason"]) if choice.end else None
            if problem:
                return errors.render(problem)
        return wire.reply(self.object())

    def failure(self, problem: Problem) -> HttpResponse:
        return errors.render(problem)

    @property
    def ends(self) -> list[Mapping[str, Any]]:
        return [choice.end for choice in self.choices if choice.end is not None]

    @property
    def usage(self) -> dict[str, Any]:
        return wire.usage(self.ends, per_prompt=self.style.per_prompt)

    def wanted(self, choice: Choice, calls: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The calls that go out, all of them unless the caller takes one only; noted in the choice."""
        room = max(0, 1 - len(choice.calls)) if self.style.single_call else len(calls)
        taken = [wire.call(call, len(choice.calls) + at) for at, call in enumerate(calls[:room])]
        choice.calls.extend(taken)
        return taken

    def _end(self, choice: Choice, entry: Entry) -> Iterable[bytes]:
        """One that was broken off is the error of the whole answer: raised, it has a status where nothing was said."""
        problem = broken_off(entry.data["reason"])
        if problem:
            raise problem
        choice.end = entry.data
        return [*self.finished(choice), *(self.close() if entry.kind == END else ())]

    def _note(self, entry: Entry) -> None:
        if entry.kind == END and "reason" not in entry.data:
            return
        choice = self.choices[entry.data.get(PART, 0)]
        if entry.kind in {END, PART_END}:
            choice.end = entry.data
        elif entry.kind == TEXT:
            choice.text.append(entry.data["t"])
            choice.logprobs.extend(entry.data.get("lp") or ())
        elif entry.kind == THINKING:
            choice.thinking.append(entry.data["t"])
        elif entry.kind == TOOL_CALLS:
            self.wanted(choice, entry.data["calls"])

    # --- What a subclass says -----------------------------------------------------------------------------------

    @abstractmethod
    def said(self, choice: Choice, entry: Entry) -> Iterable[bytes]:
        """A piece of text or thinking."""

    @abstractmethod
    def called(self, choice: Choice, calls: Sequence[dict[str, Any]]) -> Iterable[bytes]:
        """Calls, whole ones."""

    @abstractmethod
    def finished(self, choice: Choice) -> Iterable[bytes]:
        """The end of one choice."""

    @abstractmethod
    def close(self) -> Iterable[bytes]:
        """The end of the stream."""

    @abstractmethod
    def object(self) -> dict[str, Any]:
        """The answer in one piece."""
