"""What every reply of this dialect is made of: JSON, server-sent events, ids, usage, logprobs. Pure."""

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from django.http import HttpResponse

from apps.api.lines import dumps as dumps
from apps.api.lines import to_bytes as to_bytes
from apps.api.openai.errors import JSON, envelope
from apps.errors import Problem

EVENTS: Final = "text/event-stream"
FINGERPRINT: Final = "fp_ollama"
DONE: Final = b"data: [DONE]\n\n"


def event(value: Any) -> bytes:
    return to_bytes(f"data: {dumps(value)}\n\n")


def error_event(problem: Problem) -> bytes:
    """An error in mid-stream. Ollama drops it; OpenAI's clients raise at it."""
    return event(envelope(problem))


def reply(value: Any, *, status: int = 200) -> HttpResponse:
    return HttpResponse(to_bytes(dumps(value)), status=status, content_type=JSON)


def new_id(prefix: str) -> str:
    return f"{prefix}{uuid.uuid4().hex[:24]}"


def now() -> int:
    return int(time.time())


def finish_reason(reason: str, *, called: bool) -> str:
    return "tool_calls" if called and reason == "stop" else reason


def usage(ends: Sequence[Mapping[str, Any]], *, per_prompt: int) -> dict[str, Any]:
    """`ends` are the END frames' data in order; a prompt that is answered `per_prompt` times counts once."""
    prompts = ends[::per_prompt]
    prompt, output = sum(end["prompt_tokens"] for end in prompts), sum(end["output_tokens"] for end in ends)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": sum(end["cached_tokens"] for end in prompts)},
    }


def dropped(ends: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How much of the prompts did not fit and was left out; nothing where all of it fitted."""
    count = max((int(end.get("dropped_tokens") or 0) for end in ends), default=0)
    return {"prompt_dropped_count": count} if count else {}


def token(item: Mapping[str, Any]) -> dict[str, Any]:
    """One token of `logprobs.content`."""
    top = [{name: each[name] for name in ("token", "logprob", "bytes")} for each in item.get("top") or ()]
    return {**{name: item[name] for name in ("token", "logprob", "bytes")}, "top_logprobs": top}


def call(item: Mapping[str, Any], index: int) -> dict[str, Any]:
    return {
        "id": item["id"],
        "index": index,
        "type": "function",
        "function": {"name": item["name"], "arguments": dumps(item["arguments"])},
    }
