"""Errors as Anthropic's clients know them (contract, section 14).

    {"type": "error", "error": {"type", "message"}, "request_id"}

The id is also the header `request-id`, where the clients look for it. The sentences are those of the native API where
it has one.
"""

import json
import re
import uuid
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from rest_framework.exceptions import MethodNotAllowed

from apps.api import inference
from apps.api.problems import told, with_allow, with_hints
from apps.errors import Problem

JSON: Final = "application/json"
REQUEST_ID: Final = "request-id"
TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}
_HEX = re.compile("[0-9a-f]{32}")


class Refusal(Problem):
    """A request that is wrong; the sentence names the place ("messages.0.content: …") where it has one."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__("invalid", message, status=status)


def request_id() -> str:
    """`req_` and the beginning of the id under which this request is logged, where that is one of our own."""
    logged = inference.request_id()
    return f"req_{(logged if _HEX.fullmatch(logged) else uuid.uuid4().hex)[:24]}"


def envelope(problem: Problem, identity: str) -> dict[str, Any]:
    about = {"type": type_of(problem.status), "message": problem.message}
    return {"type": "error", "error": about, "request_id": identity}


def type_of(status: int) -> str:
    if status in TYPES:
        return TYPES[status]
    return "invalid_request_error" if 400 <= status < 499 else "api_error"


def render(problem: Problem, identity: str = "") -> HttpResponse:
    """`identity` is the request's id where one has been given out already."""
    identity = identity or request_id()
    body = json.dumps(envelope(problem, identity), ensure_ascii=False, separators=(",", ":"))
    reply = HttpResponse(body.encode("utf-8", "replace"), status=problem.status, content_type=JSON)
    reply[REQUEST_ID] = identity
    with_hints(reply, problem)
    return reply


def handle(exc: Exception, context: dict[str, Any]) -> HttpResponse:
    """The exception handler of this dialect's views."""
    if isinstance(exc, MethodNotAllowed):
        request = context["request"]
        refusal = Problem("method_not_allowed", f"{request.path} does not take {request.method}")
        return with_allow(render(refusal), context.get("view"))
    return render(told(exc, context))


def unknown_url(request: HttpRequest) -> HttpResponse:
    return render(Problem("not_found", f"there is no {request.method} {request.path}"))
