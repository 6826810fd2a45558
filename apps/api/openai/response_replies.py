"""Frames -> events and objects of /v1/responses (contract, section 13.6), in the order in which OpenAI sends them.

The object that a reply in one piece holds is what the events add up to: both come from one `Output`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.http import HttpResponse

from apps.api.inference import broken_off
from apps.api.openai import errors, wire
from apps.api.openai.output import Event, Output
from apps.errors import Problem
from apps.inference.types import END, ERROR, TEXT, THINKING, TOOL_CALLS
from apps.streams.log import Entry


class ResponseRenderer:
    content_type = wire.EVENTS

    def __init__(self, model: str, echo: Mapping[str, Any], *, logprobs: bool, single_call: bool) -> None:
        self._model = model
        self._echo = echo
        self._id = wire.new_id("resp_")
        self._created = wire.now()
        self._output = Output(logprobs=logprobs, single_call=single_call)
        self._sequence = 0

    def lines(self, entry: Entry) -> Iterable[bytes]:
        if entry.kind == ERROR:
            return [self._event(*self._failed(Problem.from_data(entry.data)))]
        return [self._event(name, data) for name, data in self._events(entry)]

    def whole(self, entries: Sequence[Entry]) -> HttpResponse:
        end = entries[-1].data
        problem = broken_off(end["reason"])
        if problem:
            return errors.render(problem)
        for entry in entries:
            list(self._pieces(entry))
        list(self._output.close())
        return wire.reply(self._ended(end))

    def failure(self, problem: Problem) -> HttpResponse:
        return errors.render(problem)

    def _events(self, entry: Entry) -> Iterator[Event]:
        """Nothing is said before there is something: until then an error has a status of its own."""
        if entry.kind == END and (problem := broken_off(entry.data["reason"])):
            raise problem
        if entry.kind not in {TEXT, THINKING, TOOL_CALLS, END}:
            return
        if not self._sequence:
            yield "response.created", {"response": self._object("in_progress")}
            yield "response.in_progress", {"response": self._object("in_progress")}
        yield from self._pieces(entry)
        if entry.kind == END:
            yield from self._output.close()
            ended = self._ended(entry.data)
            yield f"response.{ended['status']}", {"response": ended}

    def _pieces(self, entry: Entry) -> Iterator[Event]:
        if entry.kind == THINKING:
            yield from self._output.think(entry.data["t"])
        elif entry.kind == TEXT:
            yield from self._output.say(entry.data["t"], entry.data.get("lp") or ())
        elif entry.kind == TOOL_CALLS:
            yield from self._output.call(entry.data["calls"])

    def _event(self, name: str, data: Mapping[str, Any]) -> bytes:
        body = wire.dumps({"type": name, "sequence_number": self._sequence, **data})
        self._sequence += 1
        return wire.to_bytes(f"event: {name}\ndata: {body}\n\n")

    def _failed(self, problem: Problem) -> Event:
        response = self._object("failed")
        code = "rate_limit_exceeded" if problem.status == 429 else "server_error"
        return "response.failed", {"response": {**response, "error": {"code": code, "message": problem.message}}}

    def _ended(self, end: Mapping[str, Any]) -> dict[str, Any]:
        """A reply that was cut at its limit is incomplete, as with OpenAI; Ollama calls it completed."""
        cut = end["reason"] == "length"
        response = self._object("incomplete" if cut else "completed")
        response["completed_at"] = None if cut else wire.now()
        response["incomplete_details"] = {"reason": "max_output_tokens"} if cut else None
        response["usage"] = _usage(end)
        return {**response, **wire.dropped([end])}

    def _object(self, status: str) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "completed_at": None,
            "status": status,
            "incomplete_details": None,
            "model": self._model,
            "previous_response_id": None,
            "output": [] if status == "in_progress" else self._output.items,
            "error": None,
            **self._echo,
            "usage": None,
            "store": False,
            "background": False,
            "service_tier": "default",
        }


def _usage(end: Mapping[str, Any]) -> dict[str, Any]:
    prompt, output = end["prompt_tokens"], end["output_tokens"]
    return {
        "input_tokens": prompt,
        "output_tokens": output,
        "total_tokens": prompt + output,
        "input_tokens_details": {"cached_tokens": end["cached_tokens"]},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
