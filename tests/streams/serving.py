"""A real uvicorn in a thread of the test process, whose one view follows a log, and clients of it on bare sockets."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import uvicorn
from django.core.handlers.asgi import ASGIHandler
from django.db import connection, connections
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from apps.errors import Problem
from apps.streams.log import Entry, EventLog
from apps.streams.pending import PendingStream
from apps.streams.threads import Threads, afterwards

promised: list[str] = []  # by a view that got as far as to run
abandoned: list[str] = []
slow_view = threading.Event()
may_do_the_rest = threading.Event()
done_afterwards: list[tuple[str, int]] = []
threads_of_views: list[int] = []


class Plain:
    """A dialect of one line an entry."""

    content_type = "application/x-ndjson"

    def lines(self, entry: Entry) -> list[bytes]:
        return [] if entry.kind == "progress" else [json.dumps([entry.kind, entry.data]).encode() + b"\n"]

    def whole(self, entries: Sequence[Entry]) -> HttpResponse:
        return HttpResponse(" ".join(entry.data.get("t", entry.kind) for entry in entries))

    def failure(self, problem: Problem) -> HttpResponse:
        return HttpResponse(problem.message, status=problem.status)


def follow(request: HttpRequest, log_id: str) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    if "slow" in request.GET:
        slow_view.wait(5)
        time.sleep(0.2)
    response = PendingStream(
        log_id, Plain(), streaming="whole" not in request.GET, on_abandon=lambda: abandoned.append(log_id)
    )
    if "rest" in request.GET:
        afterwards(partial(the_rest, log_id))
    response["X-From-View"] = "kept"
    threads_of_views.append(threading.get_native_id())
    promised.append(log_id)
    return HttpResponse("something else") if "discard" in request.GET else response


def the_rest(log_id: str) -> None:
    may_do_the_rest.wait(5)
    if log_id.endswith("-bad"):
        raise RuntimeError("no room on the disk")
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    done_afterwards.append((log_id, threading.get_native_id()))


urlpatterns = [path("<slug:log_id>", follow)]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "apps.streams.settle.Settle",
]


class Server(uvicorn.Server):
    """In a thread of the test process, with an event loop of its own."""

    def install_signal_handlers(self) -> None:
        """Signals are the test runner's."""


@contextmanager
def serving(*middleware: str) -> Iterator[int]:
    """The port of a server with these middlewares."""
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=middleware):
        listener = socket.create_server(("127.0.0.1", 0))
        server = Server(uvicorn.Config(Threads(ASGIHandler()), lifespan="off", log_level="warning", http="httptools"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), name="uvicorn")
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(10)
        listener.close()
        connections.close_all()


def ask(port: int, address: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=5)
    client.sendall(f"GET /{address} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    return client


def read_until(client: socket.socket, text: bytes) -> bytes:
    seen = b""
    while text not in seen:
        more = client.recv(65536)
        assert more, seen
        seen += more
    return seen


def read_all(client: socket.socket) -> tuple[int, bytes, bytes]:
    """Status, head and (unchunked) body."""
    with client, client.makefile("rb") as file:
        raw = file.read()
    head, _, body = raw.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        body = b"".join(_chunks(body))
    return int(head.split()[1]), head, body


def _chunks(body: bytes) -> Iterator[bytes]:
    while body:
        size, _, body = body.partition(b"\r\n")
        yield body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]


def eventually(condition: Callable[[], bool], seconds: float = 2.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def write(events: EventLog, log_id: str, *words: str) -> None:
    events.append(log_id, 0, [("text", {"t": word}) for word in words])
