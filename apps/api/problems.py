"""Errors on the way out: one exception handler for DRF, and Django's own error pages as text.

The shape is `{"error": "<sentence>"}` (contract, sections 1.3 and 24); never a traceback.
"""

import math

import structlog
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.request import UnreadablePostError
from redis.exceptions import ConnectionError as ValkeyAway
from redis.exceptions import TimeoutError as ValkeySlow
from rest_framework import exceptions
from rest_framework.views import APIView, set_rollback

from apps.errors import Problem

JSON = "application/json; charset=utf-8"
TEXT = "text/plain"
CHALLENGE = 'Bearer realm="corral"'
RETRY_SECONDS = 2

log = structlog.get_logger(__name__)


def handle(exc: Exception, context: dict[str, object]) -> HttpResponse:
    """DRF's exception handler."""
    if isinstance(exc, exceptions.MethodNotAllowed):
        text = HttpResponse("405 method not allowed", status=405, content_type=TEXT)
        return with_allow(text, context.get("view"))
    return render(told(exc, context))


def told(exc: Exception, context: dict[str, object]) -> Problem:
    """What a view raised, as a Problem. Whatever is not foreseen is logged and told as an internal error."""
    set_rollback()
    problem = as_problem(exc)
    if problem is None:
        log.error("request failed", exc_info=exc, view=type(context.get("view")).__name__)
        problem = Problem("internal", "internal server error")
    return problem


def render(problem: Problem) -> JsonResponse:
    """A problem as the native API tells it."""
    reply = JsonResponse(
        {"error": problem.message},
        status=problem.status,
        content_type=JSON,
        json_dumps_params={"separators": (",", ":")},
    )
    with_hints(reply, problem)
    return reply


def with_hints(reply: HttpResponse, problem: Problem) -> None:
    """The headers that say what to do about it: sign in, or come back later."""
    if problem.status == 401:
        reply["WWW-Authenticate"] = CHALLENGE
    if problem.retry_after is not None:
        reply["Retry-After"] = str(problem.retry_after)


def as_problem(exc: Exception) -> Problem | None:
    """What DRF, Django and the two databases raise, as a Problem; None for what nobody foresaw."""
    if isinstance(exc, Problem):
        return exc
    if isinstance(exc, exceptions.APIException):
        return _from_drf(exc)
    if isinstance(exc, Http404):
        return Problem("not_found", "not found")
    if isinstance(exc, RequestDataTooBig):
        return Problem("too_large", "the request body is too large")
    if isinstance(exc, UnreadablePostError):
        return Problem("cancelled", "request canceled")
    if isinstance(exc, OperationalError | InterfaceError):
        log.warning("database is away", error=str(exc))
        return Problem("unavailable", "the database cannot be reached, please try again", retry_after=RETRY_SECONDS)
    if isinstance(exc, ValkeyAway | ValkeySlow):
        log.warning("valkey is away", error=str(exc))
        return Problem("unavailable", "the event log cannot be reached, please try again", retry_after=RETRY_SECONDS)
    return None


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """handler404: an address that nothing answers (contract, section 1.4)."""
    return HttpResponse("404 page not found", status=404, content_type=TEXT)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """handler400: what Django itself found suspicious."""
    return render(Problem("invalid", "bad request"))


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500. Django has logged the traceback."""
    return render(Problem("internal", "internal server error"))


def _from_drf(exc: exceptions.APIException) -> Problem:
    """DRF's statuses are kept, also those that our own table has no code for."""
    wait = getattr(exc, "wait", None)
    retry = math.ceil(wait) if wait is not None else None
    return Problem("invalid", sentence(exc.detail), status=exc.status_code, retry_after=retry)


def sentence(detail: object) -> str:
    """DRF's nested details as one line: `name: This field is required. scopes: …`."""
    if isinstance(detail, dict):
        parts = (
            sentence(value) if key == "non_field_errors" else f"{key}: {sentence(value)}"
            for key, value in detail.items()
        )
        return " ".join(parts)
    if isinstance(detail, list):
        return " ".join(sentence(item) for item in detail if item)
    return str(detail)


def with_allow(reply: HttpResponse, view: object) -> HttpResponse:
    """Names the methods that exist; in view.headers too, as DRF writes them (with OPTIONS) over the reply's."""
    if isinstance(view, APIView):
        allowed = ", ".join(method for method in view.allowed_methods if method != "OPTIONS")
        view.headers = {**view.headers, "Allow": allowed}
        reply["Allow"] = allowed
    return reply
