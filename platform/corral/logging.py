"""What is written down: JSON lines on stderr, one request id through web, task, worker and runner.

Never a prompt, an answer, a body or a query string: paths, names, numbers and reasons only. Apps write with
`structlog.get_logger()`; what libraries write through the standard library comes out in the same shape.

This module imports no Django settings, so that a process without Django can call `configure` too.
"""

import asyncio
import logging.config
import os
import re
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from asgiref.sync import markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import SimpleLazyObject
from structlog.typing import EventDict, Processor, WrappedLogger

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
QUIET_PATHS = {"/healthz", "/readyz"}  # asked every few seconds by machines: only at level debug
CLIENT_LEFT = 499  # nginx's number for a client that did not wait for the answer

log = structlog.get_logger()


def process_name() -> str:
    """Which process writes: as the supervisor named it, else the program's own name."""
    return os.environ.get("CORRAL_PROCESS") or Path(sys.argv[0]).stem


def configure(process: str, *, level: str = "info", fmt: str = "json") -> None:
    """Sets up logging in a process that Django does not set up (the runner). `fmt` is `json` or `console`."""
    os.environ["CORRAL_PROCESS"] = process
    apply(dict_config(level, fmt))


def apply(config: dict[str, Any]) -> None:
    """The settings' LOGGING_CONFIG: applies LOGGING, and sends structlog's loggers the same way."""
    logging.config.dictConfig(config)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def dict_config(level: str, fmt: str) -> dict[str, Any]:
    """The standard library's half: everything goes to stderr in one shape; chatty libraries only from `warning`."""
    quiet = {"level": "DEBUG" if level == "debug" else "WARNING"}
    through = {"handlers": [], "propagate": True}  # undoes the handlers that the library made for itself
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": "corral.logging.formatter", "fmt": fmt}},
        "filters": {"failures": {"()": "corral.logging.Failures"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "lines"}},
        "root": {"handlers": ["stderr"], "level": level.upper()},
        "loggers": {
            "django": through,
            "django.server": through,
            "django.request": {**through, "filters": ["failures"]},
            "uvicorn": {**through, **quiet},
            "uvicorn.error": {**through, **quiet},
            "uvicorn.access": {"handlers": [], "propagate": False},
            "celery": quiet,
            "kombu": quiet,
            "asyncio": quiet,
            "httpx": quiet,
            "parso": quiet,
        },
    }


class Failures(logging.Filter):
    """Of Django's words on requests only tracebacks: RequestLog says the rest."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.exc_info is not None


def formatter(fmt: str = "json") -> logging.Formatter:
    """Draws a line. Tracebacks come as text without local variables: those could hold a prompt."""
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    shape: list[Processor] = (
        [console] if fmt == "console" else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shape],
    )


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name_the_process,
    ]


def _name_the_process(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.setdefault("process", process_name())
    event.setdefault("pid", os.getpid())
    return event


class RequestLog:
    """Outermost middleware: gives the request its id and writes one line when its answer begins.

    The id is the caller's `X-Request-Id` when that is up to 64 of letters, digits, dot, underscore and dash; else a
    new one. It is bound for every line the request writes (`structlog.contextvars`, key `request_id`; each request
    has an asyncio task, hence a context, of its own) and returned in `X-Request-Id`.
    """

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request_id = _request_id(request)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        began, status = time.monotonic(), CLIENT_LEFT
        try:
            response = await self.get_response(request)
            status = response.status_code
        finally:  # the answer's first bytes need not wait for the line
            milliseconds = (time.monotonic() - began) * 1000
            asyncio.get_running_loop().call_soon(partial(_write, request, status, milliseconds=milliseconds))
        response["X-Request-Id"] = request_id
        return response


def _request_id(request: HttpRequest) -> str:
    given = request.headers.get("X-Request-Id", "")
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _write(request: HttpRequest, status: int, *, milliseconds: float) -> None:
    write = log.debug if request.path in QUIET_PATHS else log.info
    user = _user_id(request)
    who = {} if user is None else {"user": user}
    write("request", method=request.method, path=request.path, status=status, ms=round(milliseconds, 1), **who)


def _user_id(request: HttpRequest) -> int | None:
    """Who it was, if anything asked: looking now would read the session from the database."""
    user = request.__dict__.get("user")
    if isinstance(user, SimpleLazyObject):
        user = getattr(request, "_cached_user", None)
    return user.pk if user is not None else None
