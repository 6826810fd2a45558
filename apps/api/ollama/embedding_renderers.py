"""How a run of embed becomes the one JSON object of /api/embed or of the older /api/embeddings.

Both are asked for as streams of one line: vectors are written down as they come, so that thousands of them do not hold
up the event loop at the end, and an error still has its status, as nothing has been sent before the end.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Any

from django.http import HttpResponse

from apps.api.inference import broken_off
from apps.api.ollama import wire
from apps.api.ollama.renderers import JSON, failure
from apps.errors import Problem
from apps.inference.types import EMBEDDINGS, END
from apps.streams.log import Entry

_COUNTERS = (  # the last is ours: tokens that were cut off the texts
    ("load_duration", "load_ns"),
    ("prompt_eval_count", "prompt_tokens"),
    ("prompt_dropped_count", "dropped_tokens"),
)


class EmbedRenderer:
    """`model` as typed; `started_ns` is time.perf_counter_ns() when the request arrived."""

    content_type = JSON

    def __init__(self, model: str, *, started_ns: int) -> None:
        self._model = model
        self._started_ns = started_ns
        self._vectors: list[str] = []

    def lines(self, entry: Entry) -> Iterable[bytes]:
        """Raises Problem for a run that was broken off."""
        if entry.kind == EMBEDDINGS:
            self._vectors += entry.data["vectors"]
        if entry.kind != END:
            return ()
        if problem := broken_off(entry.data["reason"]):
            raise problem
        return (wire.to_bytes(self.body(entry.data)),)

    def whole(self, entries: Sequence[Entry]) -> HttpResponse:
        return HttpResponse(b"".join(line for entry in entries for line in self.lines(entry)), content_type=JSON)

    def failure(self, problem: Problem) -> HttpResponse:
        return failure(problem)

    def body(self, end: dict[str, Any]) -> str:
        head = wire.dumps({"model": self._model})
        tail = wire.dumps(
            {"total_duration": time.perf_counter_ns() - self._started_ns}
            | {name: end[source] for name, source in _COUNTERS if end.get(source)}
        )
        return f'{head[:-1]},"embeddings":[{",".join(self._vectors)}],{tail[1:]}'


class LegacyRenderer(EmbedRenderer):
    """One vector and nothing beside it."""

    def body(self, end: dict[str, Any]) -> str:
        return f'{{"embedding":{self._vectors[0] if self._vectors else "[]"}}}'

    def failure(self, problem: Problem) -> HttpResponse:
        """What goes wrong while embedding is a 500 here, also where the text is to blame (contract, section 7.2)."""
        if problem.code == "invalid":
            problem = Problem("invalid", problem.message, status=500)
        return failure(problem)
