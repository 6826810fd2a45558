"""JSON lines, one request id, and nothing of what users say."""

import asyncio
import io
import json
import logging
import subprocess
import sys
from typing import Any

import pytest
import structlog
from corral import logging as corral_logging
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory

REQUESTS = AsyncRequestFactory()


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(corral_logging.formatter("json"))
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    return written


def read(written: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def ask(request: HttpRequest, answer: Any = None) -> HttpResponse:
    async def view(request: HttpRequest) -> HttpResponse:
        structlog.get_logger("a.room").info("at work")
        return answer(request) if answer else HttpResponse(b"fine")

    async def go() -> HttpResponse:
        return await corral_logging.RequestLog(view)(request)

    return asyncio.run(go())


def test_one_id_is_in_every_line_of_a_request_and_in_its_answer(lines: io.StringIO) -> None:
    answer = ask(REQUESTS.get("/api/tags", headers={"X-Request-Id": "mine-1"}))
    inside, request = read(lines)
    assert answer["X-Request-Id"] == inside["request_id"] == request["request_id"] == "mine-1"
    assert (inside["event"], inside["logger"]) == ("at work", "a.room")
    assert (request["method"], request["path"], request["status"]) == ("GET", "/api/tags", 200)
    assert request["ms"] >= 0 and request["level"] == "info" and "timestamp" in request


@pytest.mark.parametrize("given", ["", "x" * 65, "two words", 'a"b', "ä"])
def test_an_id_that_could_not_stand_in_a_log_is_replaced(given: str, lines: io.StringIO) -> None:
    answer = ask(REQUESTS.get("/", headers={"X-Request-Id": given}))
    assert answer["X-Request-Id"] != given
    assert len(answer["X-Request-Id"]) == 32


def test_the_line_comes_behind_the_answer(lines: io.StringIO) -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(b"fine")

    async def go() -> tuple[int, int]:
        await corral_logging.RequestLog(view)(REQUESTS.get("/"))
        before = len(read(lines))
        await asyncio.sleep(0)
        return before, len(read(lines))

    assert asyncio.run(go()) == (0, 1)


def test_two_requests_have_two_ids(lines: io.StringIO) -> None:
    assert ask(REQUESTS.get("/"))["X-Request-Id"] != ask(REQUESTS.get("/"))["X-Request-Id"]


def test_no_query_string_and_no_body_is_written(lines: io.StringIO) -> None:
    ask(REQUESTS.post("/api/chat?key=secret-key", data={"prompt": "secret prompt"}, content_type="application/json"))
    assert "secret" not in lines.getvalue()


def test_a_client_that_left_is_written_as_499(lines: io.StringIO) -> None:
    def leave(request: HttpRequest) -> HttpResponse:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        ask(REQUESTS.get("/api/chat"), leave)
    assert read(lines)[-1]["status"] == 499


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_fill_no_log(path: str, lines: io.StringIO) -> None:
    ask(REQUESTS.get(path))
    assert [line["event"] for line in read(lines)] == ["at work"]


def test_who_asked_is_written_by_number_where_it_is_known(lines: io.StringIO) -> None:
    class Person:
        pk = 7

    def recognise(request: HttpRequest) -> HttpResponse:
        request.user = Person()  # type: ignore[assignment]
        return HttpResponse()

    ask(REQUESTS.get("/"), recognise)
    assert read(lines)[-1]["user"] == 7


def test_a_library_is_written_in_the_same_shape_with_its_traceback_and_no_variables(lines: io.StringIO) -> None:
    prompt = "secret" + " prompt"
    try:
        raise ValueError(len(prompt))
    except ValueError:
        logging.getLogger("some.library").exception("it failed for %s", "a reason")
    line = read(lines)[-1]
    assert line["event"] == "it failed for a reason" and line["level"] == "error" and line["logger"] == "some.library"
    assert "ValueError: 13" in line["exception"] and prompt not in lines.getvalue()


def test_a_process_without_django_settings_writes_the_same() -> None:
    script = (
        "import sys, structlog; from corral import logging; logging.configure('runner');"
        "structlog.contextvars.bind_contextvars(request_id='r1'); structlog.get_logger().warning('hot', degrees=90);"
        "assert 'corral.settings' not in sys.modules"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stderr
    line = json.loads(said)
    assert (line["process"], line["event"], line["degrees"], line["request_id"]) == ("runner", "hot", 90, "r1")


def test_celery_leaves_logging_to_us() -> None:
    from celery.signals import setup_logging
    from corral import celery

    answers = setup_logging.send(sender=None)
    assert [receiver.__name__ for receiver, _ in answers] == [celery.leave_logging_alone.__name__]
