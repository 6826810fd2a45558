"""Errors leave as `{"error": sentence}` with the right status, and never with a traceback."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import RequestDataTooBig
from django.db import OperationalError
from django.http import Http404, HttpResponse
from django.test import Client
from redis.exceptions import ConnectionError as ValkeyAway
from rest_framework import exceptions

from apps.api import problems
from apps.errors import STATUS, Problem
from tests.api.small_urls import Chat

pytestmark = pytest.mark.urls("tests.api.small_urls")


@pytest.fixture(autouse=True)
def nothing_raised() -> Iterator[None]:
    yield
    Chat.raises = None


def reply_to(exc: Exception) -> HttpResponse:
    Chat.raises = exc
    return Client(HTTP_HOST="127.0.0.1").post("/api/chat", {}, content_type="application/json")


@pytest.mark.parametrize("code", STATUS)
def test_every_code_has_its_status_and_sentence(code: str) -> None:
    reply = reply_to(Problem(code, "so <b> & ü \ud800"))
    assert reply.status_code == STATUS[code]
    assert reply["Content-Type"] == "application/json; charset=utf-8"
    assert json.loads(reply.content) == {"error": "so <b> & ü \ud800"}


def test_a_problem_may_carry_its_own_status_and_a_wait() -> None:
    reply = reply_to(Problem("busy", "later", status=529, retry_after=7))
    assert (reply.status_code, reply["Retry-After"]) == (529, "7")


def test_an_unknown_caller_is_challenged() -> None:
    assert reply_to(Problem("unauthenticated", "who?"))["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("exc", "status", "text"),
    [
        (exceptions.ParseError("bad"), 400, "bad"),
        (exceptions.PermissionDenied("no"), 403, "no"),
        (exceptions.UnsupportedMediaType("text/x"), 415, 'Unsupported media type "text/x" in request.'),
        (
            exceptions.ValidationError({"name": ["is bad", "is long"], "list": {0: ["no"]}}),
            400,
            "name: is bad is long list: 0: no",
        ),
        (exceptions.ValidationError({"non_field_errors": ["both are set"]}), 400, "both are set"),
        (Http404("x"), 404, "not found"),
        (RequestDataTooBig(), 413, "the request body is too large"),
        (OperationalError("secret dsn"), 503, "the database cannot be reached, please try again"),
        (ValkeyAway("secret url"), 503, "the event log cannot be reached, please try again"),
        (RuntimeError("secret detail"), 500, "internal server error"),
    ],
)
def test_foreign_errors_are_told_in_our_shape(exc: Exception, status: int, text: str) -> None:
    reply = reply_to(exc)
    assert reply.status_code == status
    assert json.loads(reply.content) == {"error": text}


def test_throttling_says_how_long() -> None:
    reply = reply_to(exceptions.Throttled(wait=2.2))
    assert (reply.status_code, reply["Retry-After"]) == (429, "3")


def test_a_wrong_method_is_text_with_what_is_allowed() -> None:
    reply = Client(HTTP_HOST="127.0.0.1").get("/api/chat")
    assert (reply.status_code, reply.content, reply["Allow"]) == (405, b"405 method not allowed", "POST")
    assert reply["Content-Type"] == "text/plain"


def test_an_unknown_address_is_text() -> None:
    reply = Client(HTTP_HOST="127.0.0.1").get("/api/nothing")
    assert (reply.status_code, reply.content, reply["Content-Type"]) == (404, b"404 page not found", "text/plain")


def test_a_crash_outside_drf_shows_nothing() -> None:
    client = Client(HTTP_HOST="127.0.0.1", raise_request_exception=False)
    reply: Any = client.get("/api/crash")
    assert reply.status_code == 500
    assert json.loads(reply.content) == {"error": "internal server error"}


def test_djangos_own_bad_requests_are_told_in_our_shape(rf: Any) -> None:
    assert json.loads(problems.bad_request(rf.get("/")).content) == {"error": "bad request"}
