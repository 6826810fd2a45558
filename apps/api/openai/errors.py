"""Errors as OpenAI's clients know them (contract, section 13.1): {"error": {"message", "type", "param", "code"}}.

A 400 names the field that is wrong in `param`, as OpenAI does; the sentences are those of the native API where it has
one.
"""

import json
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from rest_framework.exceptions import MethodNotAllowed

from apps.api.problems import told, with_allow, with_hints
from apps.errors import Problem

JSON: Final = "application/json"
TYPES: Final = {404: "not_found_error", 403: "permission_error", 429: "rate_limit_error"}
CODES: Final = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


class Refusal(Problem):
    """A request that is wrong in one place. `param` is where ("messages[0].content"), `name` OpenAI's word for why."""

    def __init__(self, message: str, *, param: str | None = None, name: str | None = None, status: int = 400) -> None:
        super().__init__("invalid", message, status=status)
        self.param = param
        self.name = name


def envelope(problem: Problem) -> dict[str, Any]:
    return {
        "error": {
            "message": problem.message,
            "type": type_of(problem.status),
            "param": getattr(problem, "param", None),
            "code": getattr(problem, "name", None) or CODES.get(problem.status),
        }
    }


def type_of(status: int) -> str:
    if status in TYPES:
        return TYPES[status]
    return "invalid_request_error" if 400 <= status < 499 else "api_error"


def render(problem: Problem) -> HttpResponse:
    body = json.dumps(envelope(problem), ensure_ascii=False, separators=(",", ":")) + "\n"
    reply = HttpResponse(body.encode("utf-8", "replace"), status=problem.status, content_type=JSON)
    with_hints(reply, problem)
    return reply


def handle(exc: Exception, context: dict[str, Any]) -> HttpResponse:
    """The exception handler of this dialect's views."""
    if isinstance(exc, MethodNotAllowed):
        request = context["request"]
        refusal = Problem("method_not_allowed", f"Not allowed to {request.method} on {request.path}")
        return with_allow(render(refusal), context.get("view"))
    return render(told(exc, context))


def unknown_url(request: HttpRequest) -> HttpResponse:
    return render(Refusal(f"Invalid URL ({request.method} {request.path})", status=404, name="unknown_url"))
