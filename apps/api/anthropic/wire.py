"""What every reply of this dialect is made of: JSON, server-sent events, ids, usage, the reason of the end. Pure."""

import base64
import hashlib
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.http import HttpResponse

from apps.api.anthropic.errors import JSON, envelope
from apps.api.lines import dumps as dumps
from apps.api.lines import to_bytes as to_bytes
from apps.errors import Problem

EVENTS: Final = "text/event-stream"
REASONS: Final = {"stop": "end_turn", "length": "max_tokens"}


def event(name: str, **fields: Any) -> bytes:
    return to_bytes(f"event: {name}\ndata: {dumps({'type': name, **fields})}\n\n")


def error_event(problem: Problem, request_id: str) -> bytes:
    """An error in mid-stream. Ollama drops it; Anthropic's clients raise at it."""
    return to_bytes(f"event: error\ndata: {dumps(envelope(problem, request_id))}\n\n")


def reply(value: Any) -> HttpResponse:
    return HttpResponse(to_bytes(dumps(value)), content_type=JSON)


def new_id() -> str:
    return f"msg_{uuid.uuid4().hex[:24]}"


def call_id(identity: str) -> str:
    return f"toolu_{identity.removeprefix('call_')}"


def signature(thinking: Iterable[str]) -> str:
    """Of a thinking block: clients keep and send back only those that have one. A digest; nobody checks it."""
    digest = hashlib.sha256()
    for text in thinking:
        digest.update(text.encode("utf-8", "replace"))
    return base64.b64encode(digest.digest()).decode("ascii")


def usage(*, prompt: int, cached: int, output: int, dropped: int = 0) -> dict[str, int]:
    """As Anthropic counts: `input_tokens` are those that were not in the cache; all three are the whole prompt.

    `prompt_dropped_count` is ours: how much of the prompt did not fit and was left out.
    """
    counts = {
        "input_tokens": prompt - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": output,
    }
    return {**counts, "prompt_dropped_count": dropped} if dropped else counts


def used(end: Mapping[str, Any]) -> dict[str, int]:
    """The usage that an END frame tells."""
    return usage(
        prompt=end["prompt_tokens"],
        cached=end["cached_tokens"],
        output=end["output_tokens"],
        dropped=int(end.get("dropped_tokens") or 0),
    )


def ending(end: Mapping[str, Any], *, called: bool) -> dict[str, str | None]:
    """`stop_reason` and `stop_sequence`. An END frame may name the stop sequence that ended the answer in `stop`."""
    if called:
        return {"stop_reason": "tool_use", "stop_sequence": None}
    if stop := end.get("stop"):
        return {"stop_reason": "stop_sequence", "stop_sequence": stop}
    return {"stop_reason": REASONS[end["reason"]], "stop_sequence": None}
