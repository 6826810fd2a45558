"""How a log's entries become the HTTP reply of the native API (the protocol of apps.streams.pending.Renderer)."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.http import HttpResponse

from apps.api import problems
from apps.api.inference import broken_off
from apps.api.ollama import wire
from apps.errors import Problem
from apps.inference.types import END, ERROR, PROGRESS, RENDERED, TEXT, THINKING, TOOL_CALLS
from apps.streams.log import Entry

NDJSON = "application/x-ndjson"
JSON = "application/json; charset=utf-8"
JOB_JSON = "application/json"  # what Ollama sends for create, pull and push


def json_reply(value: Any, *, status: int = 200, content_type: str = JSON) -> HttpResponse:
    return HttpResponse(wire.to_bytes(wire.dumps(value)), status=status, content_type=content_type)


def failure(problem: Problem, *, content_type: str = JSON) -> HttpResponse:
    reply = problems.render(problem)
    reply["Content-Type"] = content_type
    return reply


class GenerationRenderer:
    """A run of generate or chat."""

    content_type = NDJSON

    def __init__(self, reply: wire.Reply) -> None:
        self._reply = reply

    def lines(self, entry: Entry) -> Iterable[bytes]:
        data = entry.data
        if entry.kind == TEXT and "lp" not in data:
            return (self._reply.text(data["t"]),)
        if entry.kind in SAYING:
            return (self._reply.line(SAYING[entry.kind](data)),)
        if entry.kind == END:
            return (self._end(data),)
        return (wire.line(wire.error_body(Problem.from_data(data))),) if entry.kind == ERROR else ()

    def _end(self, data: dict[str, Any]) -> bytes:
        problem = broken_off(data["reason"])
        return wire.line(wire.error_body(problem) if problem else self._reply.last(data))

    def whole(self, entries: Sequence[Entry]) -> HttpResponse:
        end = entries[-1].data
        problem = broken_off(end["reason"])
        return failure(problem) if problem else json_reply(self._reply.last(end, gathered(entries)))

    def failure(self, problem: Problem) -> HttpResponse:
        return failure(problem)


SAYING: dict[str, Callable[[dict[str, Any]], wire.Said]] = {
    TEXT: lambda data: wire.Said(text=data["t"], logprobs=data.get("lp", ())),
    THINKING: lambda data: wire.Said(thinking=data["t"], logprobs=data.get("lp", ())),
    TOOL_CALLS: lambda data: wire.Said(calls=data["calls"]),
}


def gathered(entries: Iterable[Entry]) -> wire.Said:
    """All that the frames of a reply say, in one piece."""
    pieces = [SAYING[entry.kind](entry.data) for entry in entries if entry.kind in SAYING]
    return wire.Said(
        text="".join(piece.text for piece in pieces),
        thinking="".join(piece.thinking for piece in pieces),
        calls=[call for piece in pieces for call in piece.calls],
        logprobs=[each for piece in pieces for each in piece.logprobs],
    )


class DebugRenderer:
    """A run that only renders its prompt: one object, also for a caller that asked for a stream."""

    content_type = JSON

    def __init__(self, reply: wire.Reply) -> None:
        self._reply = reply

    def lines(self, entry: Entry) -> Iterable[bytes]:
        return (wire.line(self._reply.rendered(entry.data)),) if entry.kind == RENDERED else ()

    def whole(self, entries: Sequence[Entry]) -> HttpResponse:
        for entry in entries:
            if entry.kind == RENDERED:
                return json_reply(self._reply.rendered(entry.data))
        return failure(broken_off(entries[-1].data["reason"]) or Problem("internal", "the prompt was not rendered"))

    def failure(self, problem: Problem) -> HttpResponse:
        return failure(problem)


class LoadRenderer:
    """A run that only loads a model: one object, also for a caller that asked for a stream."""

    content_type = JSON

    def __init__(self, reply: dict[str, Any]) -> None:
        self._reply = reply

    def lines(self, entry: Entry) -> Iterable[bytes]:
        return (wire.line(self._reply),) if entry.kind == END else ()

    def whole(self, entries: Sequence[Entry]) -> HttpResponse:
        problem = broken_off(entries[-1].data.get("reason", ""))
        return failure(problem) if problem else json_reply(self._reply)

    def failure(self, problem: Problem) -> HttpResponse:
        return failure(problem)


class JobRenderer:
    """A create, pull or push: a line for each progress entry; not streamed, the last of them."""

    content_type = NDJSON

    def lines(self, entry: Entry) -> Iterable[bytes]:
        if entry.kind == PROGRESS:
            return (wire.line(entry.data),)
        return (wire.line(wire.error_body(Problem.from_data(entry.data))),) if entry.kind == ERROR else ()

    def whole(self, entries: Sequence[Entry]) -> HttpResponse:
        said = [entry.data for entry in entries if entry.kind == PROGRESS]
        return json_reply(said[-1] if said else {"status": "success"}, content_type=JOB_JSON)

    def failure(self, problem: Problem) -> HttpResponse:
        return failure(problem, content_type=JOB_JSON)
