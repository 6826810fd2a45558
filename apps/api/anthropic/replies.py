"""Frames -> the events and replies of this dialect (contract, section 14); renderers of apps.streams.pending."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.http import HttpResponse

from apps.api.anthropic import errors, wire
from apps.api.anthropic.content import Content, Style
from apps.api.inference import broken_off
from apps.errors import Problem
from apps.inference.types import END, ERROR, RENDERED, TEXT, THINKING, TOOL_CALLS
from apps.streams.log import Entry


class MessageRenderer:
    """A stream opens with the first thing that is said, so that what fails before it still has a status."""

    content_type = wire.EVENTS

    def __init__(self, style: Style, request_id: str) -> None:
        self._style = style
        self._request_id = request_id
        self._id = wire.new_id()
        self._content = Content(style)
        self._begun = False

    def lines(self, entry: Entry) -> Iterable[bytes]:
        if entry.kind == ERROR:
            return self._broken(Problem.from_data(entry.data))
        if entry.kind == END:
            problem = broken_off(entry.data["reason"])
            return self._broken(problem) if problem else (*self._opening(), *self._end(entry.data))
        said = list(self._said(entry))
        return (*self._opening(), *said) if said else ()

    def whole(self, entries: Sequence[Entry]) -> HttpResponse:
        for entry in entries:
            for _ in self._said(entry):
                pass  # the events of what is told in one piece
        for _ in self._content.close():
            pass
        end = entries[-1].data
        problem = broken_off(end["reason"])
        if problem:
            return self.failure(problem)
        ending = wire.ending(end, called=self._content.called)
        return wire.reply(self._message(self._content.blocks, ending, wire.used(end)))

    def failure(self, problem: Problem) -> HttpResponse:
        return errors.render(problem, self._request_id)

    def _said(self, entry: Entry) -> Iterator[bytes]:
        if entry.kind == TEXT:
            yield from self._content.say(entry.data["t"])
        elif entry.kind == THINKING:
            yield from self._content.think(entry.data["t"])
        elif entry.kind == TOOL_CALLS:
            yield from self._content.call(entry.data["calls"])

    def _opening(self) -> Iterator[bytes]:
        """How long the prompt is shows at its end only, so this says an estimate; the last usage is the true one."""
        if self._begun:
            return
        self._begun = True
        usage = wire.usage(prompt=self._style.estimate, cached=0, output=0)
        yield wire.event(
            "message_start", message=self._message([], {"stop_reason": None, "stop_sequence": None}, usage)
        )

    def _end(self, end: Mapping[str, Any]) -> Iterator[bytes]:
        yield from self._content.close()
        yield wire.event("message_delta", delta=wire.ending(end, called=self._content.called), usage=wire.used(end))
        yield wire.event("message_stop")

    def _broken(self, problem: Problem) -> Iterable[bytes]:
        """An event; raised where nothing was said yet, so that it has a status."""
        if not self._begun:
            raise problem
        return (wire.error_event(problem, self._request_id),)

    def _message(
        self, content: Sequence[dict[str, Any]], ending: Mapping[str, str | None], usage: Mapping[str, int]
    ) -> dict[str, Any]:
        about = {"id": self._id, "type": "message", "role": "assistant", "model": self._style.model}
        return {**about, "content": content, **ending, "usage": usage}


class CountRenderer:
    """How many tokens a prompt has, whatever of it fits the context. Never streamed."""

    content_type = errors.JSON

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id

    def lines(self, entry: Entry) -> Iterable[bytes]:
        return ()

    def whole(self, entries: Sequence[Entry]) -> HttpResponse:
        problem = broken_off(entries[-1].data["reason"])
        if problem:
            return self.failure(problem)
        return wire.reply({"input_tokens": sum(entry.data["tokens"] for entry in entries if entry.kind == RENDERED)})

    def failure(self, problem: Problem) -> HttpResponse:
        return errors.render(problem, self._request_id)
