"""Bodies under a real uvicorn: uploads of any size at the pace of the view, everything else bounded."""

import asyncio
import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
import uvicorn
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from apps.api.live_body import BUFFER_BYTES, Body, ClientGone, LiveBody

MAX_BODY = 100_000
outcomes: list[str] = []
read_so_far: list[int] = []
may_read = threading.Event()


def upload(request: HttpRequest, name: str) -> HttpResponse:
    body = request.scope["corral.body"]  # type: ignore[attr-defined]
    if name == "known":
        return HttpResponse("known")
    if name == "patient":
        may_read.wait(10)
    digest, size = hashlib.sha256(), 0
    try:
        while chunk := body.read(300_000):
            assert len(chunk) <= 300_000
            digest.update(chunk)
            size += len(chunk)
            read_so_far.append(size)
    except ClientGone:
        outcomes.append(f"{name} gone")
        raise
    outcomes.append(f"{name} {size}")
    return HttpResponse(f"{size} {digest.hexdigest()} {len(request.body)}")


def echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(len(request.body)))


urlpatterns = [path("api/blobs/<str:name>", upload), path("echo", echo)]


class Server(uvicorn.Server):
    """In a thread of the test process, with an event loop of its own."""

    def install_signal_handlers(self) -> None:
        """Signals are the test runner's."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=["apps.streams.settle.Settle"]):
        application: Any = LiveBody(ASGIHandler(), max_body=MAX_BODY)
        listener = socket.create_server(("127.0.0.1", 0))
        server = Server(uvicorn.Config(application, lifespan="off", log_level="critical", http="httptools"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), name="uvicorn")
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(10)
        listener.close()


def connect(port: int, method: str, address: str, *headers: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    client.sendall("\r\n".join([f"{method} {address} HTTP/1.1", "Host: x", *headers, "", ""]).encode())
    return client


def answer(client: socket.socket) -> tuple[int, bytes]:
    """The next answer on the connection: status and body."""
    seen = b""
    while b"\r\n\r\n" not in seen:
        more = client.recv(65536)
        assert more, seen
        seen += more
    head, _, body = seen.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if b"content-length" not in fields:
        while not body.endswith(b"0\r\n\r\n"):
            body += client.recv(65536)
        return int(head.split()[1]), b"".join(body.split(b"\r\n")[1:-3:2])
    while len(body) < int(fields[b"content-length"]):
        body += client.recv(65536)
    return int(head.split()[1]), body


def eventually(condition: Callable[[], bool], seconds: float = 3.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_an_upload_reaches_the_view_unchanged_and_django_sees_no_body(port: int) -> None:
    content = bytes(range(256)) * 20_000
    with connect(port, "POST", "/api/blobs/whole", f"Content-Length: {len(content)}") as client:
        client.sendall(content)
        status, body = answer(client)
    assert status == 200
    assert body.split() == [str(len(content)).encode(), hashlib.sha256(content).hexdigest().encode(), b"0"]


def test_a_chunked_and_an_empty_upload_work_too(port: int) -> None:
    with connect(port, "POST", "/api/blobs/chunked", "Transfer-Encoding: chunked") as client:
        for piece in (b"abc", b"defg"):
            client.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            time.sleep(0.05)
        client.sendall(b"0\r\n\r\n")
        assert answer(client)[1].startswith(b"7 " + hashlib.sha256(b"abcdefg").hexdigest().encode())
    with connect(port, "POST", "/api/blobs/empty", "Content-Length: 0") as client:
        assert answer(client)[1].startswith(b"0 ")


def test_a_hundred_megabytes_pass_in_bounded_memory(port: int) -> None:
    piece, times = b"x" * 1_000_000, 100
    process = psutil.Process()
    before = process.memory_info().rss
    most = 0
    with connect(port, "POST", "/api/blobs/large", f"Content-Length: {len(piece) * times}") as client:
        for _ in range(times):
            client.sendall(piece)
            most = max(most, process.memory_info().rss)
        assert answer(client)[1].startswith(b"100000000 ")
    assert most - before < 20_000_000


def test_a_view_that_does_not_read_slows_the_client_down(port: int) -> None:
    may_read.clear()
    read_so_far.clear()
    sent = 0
    with connect(port, "POST", "/api/blobs/patient", "Content-Length: 50000000") as client:
        client.settimeout(0.5)
        with pytest.raises(TimeoutError):
            while sent < 50_000_000:
                sent += client.send(b"y" * 65536)
        assert sent < 20_000_000 and not read_so_far  # what the kernel's buffers took
        may_read.set()
        client.settimeout(10)
        while sent < 50_000_000:
            sent += client.send(b"y" * min(65536, 50_000_000 - sent))
        assert answer(client)[1].startswith(b"50000000 ")


def test_the_buffer_holds_its_bound_and_one_piece() -> None:
    async def scenario() -> int:
        given = 0

        async def receive() -> dict[str, Any]:
            nonlocal given
            given += 100_000
            return {"type": "http.request", "body": b"z" * 100_000, "more_body": True}

        body = Body(receive)
        await asyncio.to_thread(body.read, 10)
        await asyncio.sleep(0.1)
        await body.close()
        return given

    assert asyncio.run(scenario()) <= BUFFER_BYTES + 200_000


def test_an_answer_before_the_body_leaves_the_connection_usable(port: int) -> None:
    content = b"w" * 3_000_000
    with connect(port, "POST", "/api/blobs/known", f"Content-Length: {len(content)}") as client:
        assert answer(client) == (200, b"known")
        client.sendall(content)
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        assert answer(client) == (200, b"3")


def test_an_expected_100_comes_only_when_the_view_reads(port: int) -> None:
    expect = "Expect: 100-continue"
    with connect(port, "POST", "/api/blobs/known", "Content-Length: 3000000", expect) as client:
        assert answer(client)[0] == 200
    with connect(port, "POST", "/api/blobs/asked", "Content-Length: 3", expect) as client:
        assert client.recv(100).startswith(b"HTTP/1.1 100")
        client.sendall(b"abc")
        assert answer(client)[0] == 200


def test_a_client_that_leaves_in_mid_upload_is_noticed_by_the_view(port: int) -> None:
    client = connect(port, "POST", "/api/blobs/left", "Content-Length: 1000000")
    client.sendall(b"v" * 100_000)
    time.sleep(0.2)
    client.close()
    assert eventually(lambda: "left gone" in outcomes)
    with connect(port, "POST", "/echo", "Content-Length: 1") as other:
        other.sendall(b"a")
        assert answer(other) == (200, b"1")


def test_reading_after_the_request_is_over_is_refused() -> None:
    async def scenario() -> None:
        async def receive() -> dict[str, Any]:
            raise AssertionError("nothing may be received any more")

        body = Body(receive)
        await body.close()
        with pytest.raises(ClientGone):
            await asyncio.to_thread(body.read, 10)

    asyncio.run(scenario())


def test_a_body_that_is_announced_too_large_is_refused_unread(port: int) -> None:
    with connect(port, "POST", "/echo", f"Content-Length: {MAX_BODY + 1}", "Expect: 100-continue") as client:
        status, body = answer(client)
    assert status == 413
    assert str(MAX_BODY) in json.loads(body)["error"]


def test_a_body_that_grows_too_large_is_refused(port: int) -> None:
    with connect(port, "POST", "/echo", "Transfer-Encoding: chunked") as client:
        for _ in range(3):
            client.sendall(b"%x\r\n%s\r\n" % (50_000, b"u" * 50_000))
        assert answer(client)[0] == 413


def test_a_body_of_exactly_the_limit_is_taken(port: int) -> None:
    with connect(port, "POST", "/echo", f"Content-Length: {MAX_BODY}") as client:
        client.sendall(b"t" * MAX_BODY)
        assert answer(client) == (200, str(MAX_BODY).encode())


def test_other_methods_on_a_blob_are_bounded_as_everything(port: int) -> None:
    with connect(port, "PUT", "/api/blobs/x", f"Content-Length: {MAX_BODY + 1}") as client:
        assert answer(client)[0] == 413
