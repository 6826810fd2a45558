"""What all dialects do alike: check what a model can do, start a run, hand its log to the caller."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog
from django.http import HttpResponse
from rest_framework.request import Request

from apps.accounts import access
from apps.errors import Problem
from apps.inference import runs, types
from apps.inference.models import Run
from apps.registry.resolve import Version
from apps.streams import presence
from apps.streams.log import Entry
from apps.streams.pending import PendingStream, Renderer

INSERT: Final = "insert"
DROPPED_HEADER: Final = "X-Corral-Dropped-Tokens"


def needs(version: Version, *names: str, words: Callable[[str], Problem]) -> None:
    """Raises `words(capability)` for the first of `names` that the model has not."""
    for name in names:
        if name not in version.capabilities and not (name == INSERT and _has_vocabulary(version)):
            raise words(name)


def _has_vocabulary(version: Version) -> bool:
    """Whether it has marks for filling in is seen by who renders the prompt, and refused there in the same words."""
    return "tokenizer.ggml.model" in version.info


def start(
    request: Request, version: Version, plan: types.Request, renderer: Renderer, *, streaming: bool
) -> PendingStream:
    """Starts a run for this caller; its log becomes the answer. It is cancelled when the client goes away.

    Errors: those of `runs.start`.
    """
    run = runs.start(
        access=access.of(request), version=version, request=plan, request_id=request_id(), reader=presence.here()
    )
    return answer(run, renderer, streaming=streaming)


def answer(run: Run, renderer: Renderer, *, streaming: bool) -> PendingStream:
    """The log of `run` as an answer that says in a header how much of the prompt was dropped."""
    reply = PendingStream(run.log_id, renderer, streaming=streaming, on_abandon=canceller(run))
    reply.renderer = Announcing(renderer, reply)
    return reply


def canceller(run: Run) -> Callable[[], None]:
    """Harmless once the run has ended."""
    return lambda: runs.cancel(run.pk, why="the client went away")


def broken_off(reason: str) -> Problem | None:
    """A run that ended without an answer's end: the caller is told so instead of being left with half a text."""
    if reason == "cancelled":
        return Problem("cancelled", "request canceled")
    return Problem("internal", "the answer was broken off by an error") if reason == "error" else None


def request_id() -> str:
    """The id under which this request is logged."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))


class Announcing:
    """A dialect's renderer, and the header DROPPED_HEADER on the answer: it is set before the first line goes out."""

    def __init__(self, renderer: Renderer, reply: HttpResponse) -> None:
        self._renderer = renderer
        self._reply = reply

    @property
    def content_type(self) -> str:
        return self._renderer.content_type

    def lines(self, entry: Entry) -> Iterable[bytes]:
        if entry.kind == types.PROGRESS:
            self._note(entry)
        return self._renderer.lines(entry)

    def whole(self, entries: Sequence[Entry]) -> HttpResponse:
        for entry in entries:
            if entry.kind == types.PROGRESS:
                self._note(entry)
        return self._renderer.whole(entries)

    def failure(self, problem: Problem) -> HttpResponse:
        return self._renderer.failure(problem)

    def _note(self, entry: Entry) -> None:
        if entry.data.get("dropped_tokens"):
            self._reply[DROPPED_HEADER] = str(entry.data["dropped_tokens"])
