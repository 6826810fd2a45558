"""Frames -> the reply of /v1/embeddings, and the load that answers an empty completion."""

import base64
import json
import struct
from collections.abc import Iterable, Sequence
from typing import Any

from django.http import HttpResponse

from apps.api.inference import broken_off
from apps.api.openai import errors, wire
from apps.errors import Problem
from apps.inference.types import EMBEDDINGS
from apps.streams.log import Entry


class EmbeddingRenderer:
    """Never a stream. Vectors may come in parts; they are in the order of the inputs."""

    content_type = errors.JSON

    def __init__(self, model: str, *, as_base64: bool) -> None:
        self._model = model
        self._write = packed if as_base64 else list

    def lines(self, entry: Entry) -> Iterable[bytes]:
        return ()

    def whole(self, entries: Sequence[Entry]) -> HttpResponse:
        end = entries[-1].data
        problem = broken_off(end["reason"])
        if problem:
            return errors.render(problem)
        texts = (text for entry in entries if entry.kind == EMBEDDINGS for text in entry.data["vectors"])
        data = [
            {"object": "embedding", "embedding": self._write(vector), "index": index}
            for index, vector in enumerate(map(json.loads, texts))
        ]
        usage = {"prompt_tokens": end["prompt_tokens"], "total_tokens": end["prompt_tokens"]}
        return wire.reply({"object": "list", "data": data, "model": self._model, "usage": usage, **wire.dropped([end])})

    def failure(self, problem: Problem) -> HttpResponse:
        return errors.render(problem)


class LoadRenderer:
    """A run that only loads: one object, or the two events that a stream's reader waits for."""

    content_type = wire.EVENTS

    def __init__(self, model: str) -> None:
        self._object: dict[str, Any] = {
            "id": wire.new_id("cmpl-"),
            "object": "text_completion",
            "created": wire.now(),
            "model": model,
            "system_fingerprint": wire.FINGERPRINT,
            "choices": [{"text": "", "index": 0, "finish_reason": "load"}],
        }

    def lines(self, entry: Entry) -> Iterable[bytes]:
        if entry.kind == "error":
            return (wire.error_event(Problem.from_data(entry.data)),)
        return (wire.event(self._object), wire.DONE) if entry.kind == "end" else ()

    def whole(self, entries: Sequence[Entry]) -> HttpResponse:
        problem = broken_off(entries[-1].data.get("reason", ""))
        if problem:
            return errors.render(problem)
        nothing = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        return wire.reply({**self._object, "usage": nothing})

    def failure(self, problem: Problem) -> HttpResponse:
        return errors.render(problem)


def packed(vector: Sequence[float]) -> str:
    """Little-endian float32 in standard base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
