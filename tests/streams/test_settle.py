"""PendingStream and Settle under a real uvicorn: statuses, lines, leaving clients, threads and connections."""

import asyncio
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from asgiref.sync import SyncToAsync
from django.core.handlers.asgi import ASGIHandler
from django.db import connection, connections
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, override_settings
from django.urls import path

from apps.errors import Problem
from apps.streams import log, reader, threads
from apps.streams.log import Entry, EventLog
from apps.streams.pending import PendingStream
from apps.streams.threads import KEPT, Threads, afterwards

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


@pytest.fixture(scope="module")
def port(django_db_setup: None, django_db_blocker: Any) -> Iterator[int]:
    with django_db_blocker.unblock(), serving(*MIDDLEWARE) as port:
        yield port


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


def lent() -> list[object]:
    """Requests that hold a thread."""
    return list(SyncToAsync.context_to_thread_executor)


def request_threads() -> list[str]:
    return [
        thread.name for thread in threading.enumerate() if thread.name.startswith(("request", "ThreadPoolExecutor"))
    ]


def followed() -> set[str]:
    return {log_id for each in list(reader._readers.values()) for log_id in list(each._logs)}


def test_lines_arrive_one_by_one_while_the_log_grows(events: EventLog, log_id: str, port: int) -> None:
    with ask(port, log_id) as client:
        write(events, log_id, "a")
        head = read_until(client, b'"a"')
        assert head.startswith(b"HTTP/1.1 200")
        assert b"content-type: application/x-ndjson\r\n" in head.lower()
        assert b"x-accel-buffering: no" in head.lower() and b"cache-control: no-store" in head.lower()
        assert b"x-from-view: kept" in head.lower()
        write(events, log_id, "b")
        assert b'"b"' in read_until(client, b'"b"')
        events.end(log_id, 0, "end", {})
        rest = read_until(client, b"0\r\n\r\n")
        assert b'["end", {}]' in rest
    assert log_id not in abandoned


def test_an_error_before_the_first_line_is_a_status(events: EventLog, log_id: str, port: int) -> None:
    client = ask(port, log_id)
    events.append(log_id, 0, [("progress", {"stage": "loading"})])
    time.sleep(0.1)
    events.end(log_id, 0, "error", Problem("busy", "server busy").as_data())
    status, _, body = read_all(client)
    assert (status, body) == (503, b"server busy")
    assert log_id not in abandoned


def test_an_error_after_the_first_line_is_a_line(events: EventLog, log_id: str, port: int) -> None:
    client = ask(port, log_id)
    write(events, log_id, "a")
    time.sleep(0.1)
    events.end(log_id, 0, "error", Problem("internal", "broke").as_data())
    status, _, body = read_all(client)
    lines = [json.loads(line) for line in body.splitlines()]
    assert status == 200
    assert lines[0] == ["text", {"t": "a"}]
    assert lines[1][0] == "error" and lines[1][1]["message"] == "broke"


def test_text_and_error_that_are_there_together_are_lines(events: EventLog, log_id: str, port: int) -> None:
    write(events, log_id, "a")
    events.end(log_id, 0, "error", Problem("internal", "broke").as_data())
    status, _, body = read_all(ask(port, log_id))
    assert status == 200
    assert [json.loads(line)[0] for line in body.splitlines()] == ["text", "error"]


def test_what_is_ready_together_is_one_chunk_of_whole_lines(events: EventLog, log_id: str, port: int) -> None:
    write(events, log_id, *"abcdef")
    events.end(log_id, 0, "end", {})
    with ask(port, log_id) as client:
        raw = read_until(client, b"0\r\n\r\n")
    chunks = raw.partition(b"\r\n\r\n")[2]
    first = chunks[chunks.index(b"\r\n") + 2 :][: int(chunks.split(b"\r\n")[0], 16)]
    assert len(first.splitlines()) == 7 and first.endswith(b"\n")


def test_a_whole_answer_waits_for_the_end(events: EventLog, log_id: str, port: int) -> None:
    client = ask(port, f"{log_id}?whole")
    write(events, log_id, "a", "b")
    time.sleep(0.1)
    events.end(log_id, 0, "end", {})
    status, head, body = read_all(client)
    assert (status, body) == (200, b"a b end")
    assert b"x-from-view: kept" in head.lower()


def test_a_whole_answer_that_failed_is_a_status_even_after_text(events: EventLog, log_id: str, port: int) -> None:
    write(events, log_id, "a")
    events.end(log_id, 0, "error", Problem("internal", "broke").as_data())
    assert read_all(ask(port, f"{log_id}?whole"))[0] == 500


def test_a_log_that_is_not_there_is_a_404_and_its_producer_is_told(events: EventLog, port: int) -> None:
    assert read_all(ask(port, "test-none"))[0] == 404
    assert "test-none" in abandoned


@pytest.mark.parametrize("query", ["", "?whole"])
def test_a_client_that_leaves_before_the_first_line_is_noticed(
    events: EventLog, log_id: str, port: int, query: str
) -> None:
    client = ask(port, log_id + query)
    time.sleep(0.2)
    client.close()
    assert eventually(lambda: log_id in abandoned)


def test_a_client_that_leaves_in_mid_stream_is_noticed_once(events: EventLog, log_id: str, port: int) -> None:
    client = ask(port, log_id)
    write(events, log_id, "a")
    read_until(client, b'"a"')
    client.close()
    assert eventually(lambda: log_id in abandoned)
    events.end(log_id, 0, "end", {})
    time.sleep(0.2)
    assert abandoned.count(log_id) == 1


def test_a_client_that_leaves_while_the_view_is_at_work_is_noticed(events: EventLog, log_id: str, port: int) -> None:
    slow_view.clear()
    client = ask(port, f"{log_id}?slow")
    time.sleep(0.1)
    client.close()
    time.sleep(0.1)
    slow_view.set()
    assert eventually(lambda: log_id in abandoned)


def test_a_slow_client_that_leaves_unread_lines_behind_is_noticed(events: EventLog, log_id: str, port: int) -> None:
    client = ask(port, log_id)
    for _ in range(40):
        write(events, log_id, *["x" * 100_000] * 4)
    time.sleep(0.3)
    client.close()
    assert eventually(lambda: log_id in abandoned)


def test_a_promise_that_the_view_does_not_return_is_abandoned(events: EventLog, log_id: str, port: int) -> None:
    assert read_all(ask(port, f"{log_id}?discard"))[2] == b"something else"
    assert eventually(lambda: log_id in abandoned)


def test_fifty_open_streams_hold_no_thread_and_no_connection(events: EventLog, log_id: str, port: int) -> None:
    before = len(request_threads())  # other rooms' servers in this process may have left idle ones
    names = [f"{log_id}-{index}" for index in range(50)]
    for name in names:
        events.create(name, owner=None, ttl=60)
        write(events, name, "a")
    clients = [ask(port, name) for name in names]
    for client in clients:
        read_until(client, b'"a"')
    assert eventually(lambda: not lent()), request_threads()
    assert eventually(lambda: len(request_threads()) <= before + KEPT), request_threads()
    pool = connections["default"].pool  # type: ignore[attr-defined]
    assert eventually(lambda: pool.get_stats()["pool_size"] - pool.get_stats()["pool_available"] <= 1)
    events.append_many([(name, 0, [("text", {"t": "b"})]) for name in names])
    for name, client in zip(names, clients, strict=True):
        events.end(name, 0, "end", {})
        read_until(client, b"0\r\n\r\n")
        client.close()
    assert not set(names) & set(abandoned)


@pytest.mark.django_db(transaction=True)
def test_requests_take_the_threads_of_earlier_ones(events: EventLog, log_id: str) -> None:
    events.end(log_id, 0, "end", {})
    with serving("apps.streams.settle.Settle") as port:
        for query in ("", "?whole") * 10:
            assert read_all(ask(port, f"{log_id}{query}"))[0] == 200
    assert len({*threads_of_views[-20:]}) < 5, threads_of_views


def test_no_answer_waits_for_what_is_done_afterwards(events: EventLog, log_id: str, port: int) -> None:
    may_do_the_rest.clear()
    with ask(port, f"{log_id}?rest") as client:
        write(events, log_id, "a")
        read_until(client, b'"a"')
        assert not done_afterwards
        may_do_the_rest.set()
        assert eventually(lambda: bool(done_afterwards))
        assert done_afterwards.pop() == (log_id, threads_of_views[-1])
        events.end(log_id, 0, "end", {})
        read_until(client, b"0\r\n\r\n")
    assert eventually(lambda: not lent()), request_threads()


def test_what_fails_afterwards_is_logged_and_harms_no_answer(
    events: EventLog, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[str] = []
    monkeypatch.setattr(threads, "logger", SimpleNamespace(error=lambda event, error, **_: logged.append(error)))
    may_do_the_rest.set()
    name = f"test-{uuid.uuid4().hex}-bad"
    events.create(name, owner=None, ttl=60)
    write(events, name, "a")
    events.end(name, 0, "end", {})
    assert read_all(ask(port, f"{name}?rest&whole"))[0] == 200
    assert eventually(lambda: logged == ["no room on the disk"])


def test_a_crowd_that_leaves_at_any_moment_leaves_nothing_behind(events: EventLog, log_id: str, port: int) -> None:
    before = len(request_threads())  # other rooms' servers in this process may have left idle ones
    names = [f"{log_id}-{index}" for index in range(60)]
    for name in names:
        events.create(name, owner=None, ttl=60)
        write(events, name, "a")
    for index, name in enumerate(names):
        client = ask(port, name)
        time.sleep(0.005 * (index % 8))
        client.close()
    time.sleep(0.5)
    made = [name for name in names if name in promised]
    assert made
    assert eventually(lambda: set(made) <= set(abandoned), 5)
    assert not [name for name in made if abandoned.count(name) != 1]
    assert eventually(lambda: not followed() & set(names))
    assert eventually(lambda: not lent()), request_threads()
    assert eventually(lambda: len(request_threads()) <= before + KEPT), request_threads()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("query", ["", "?whole"])
def test_the_clients_of_tests_get_an_answer_too(events: EventLog, log_id: str, query: str) -> None:
    write(events, log_id, "a")
    events.end(log_id, 0, "end", {})

    async def scenario() -> bytes:
        response = await AsyncClient().get(f"/{log_id}{query}")
        if not response.streaming:
            return bytes(response.content)
        return b"".join([chunk async for chunk in response])

    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=MIDDLEWARE):
        assert b"a" in asyncio.run(scenario())


def test_without_the_middleware_the_answer_says_what_is_missing() -> None:
    response = PendingStream("any", Plain(), streaming=True)
    assert response.status_code == 500
    assert b"Settle" in response.content


def test_two_requests_of_one_log_follow_it_independently(events: EventLog, log_id: str, port: int) -> None:
    first, second = ask(port, log_id), ask(port, log_id)
    write(events, log_id, "a")
    read_until(first, b'"a"')
    first.close()
    assert eventually(lambda: log_id in abandoned)
    events.end(log_id, 0, "end", {})
    assert read_all(second)[2].endswith(b'["end", {}]\n')


def test_entries_that_say_nothing_and_an_end_give_an_empty_stream(events: EventLog, log_id: str, port: int) -> None:
    events.append(log_id, 0, [("progress", {})])
    log.default().end(log_id, 0, "end", {})
    assert read_all(ask(port, log_id))[0] == 200
