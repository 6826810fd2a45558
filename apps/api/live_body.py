"""Request bodies before Django sees them: uploads are handed on unread, everything else is bounded.

Django reads a whole body (to memory, then to disk) before it calls a view. For an upload of gigabytes that is wrong:
there Django is shown an empty body, and the view takes the real one from `request.scope["corral.body"]`, piece by
piece from its own thread, while the client is slowed down to the pace of the view.
"""

import asyncio
import json
import threading
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LIVE_PATHS: Final = ("/api/blobs/",)
BUFFER_BYTES: Final = 1024 * 1024
EMPTY: Final[Message] = {"type": "http.request", "body": b"", "more_body": False}
DISCONNECT: Final[Message] = {"type": "http.disconnect"}


class ClientGone(Exception):
    """The client left before its body was complete, or the request is over."""


class LiveBody:
    """The ASGI wrapper. `max_body` is in bytes and does not hold for live bodies.

    An answer may be given before a body is read: the server then throws the rest of it away. The connection is not
    closed at once, as a client that still sends would see a reset instead of the answer.
    """

    def __init__(self, app: App, *, max_body: int) -> None:
        self._app = app
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["method"] == "POST" and scope["path"].startswith(LIVE_PATHS):
            await self._live(scope, receive, send)
        else:
            await self._bounded(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = Body(receive)
        try:
            await self._app({**scope, "corral.body": body}, body.stand_in, send)
        finally:
            await body.close()

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _announced(scope) > self._max_body:
            await self._refuse(send)
            return
        counted = Counted(receive, self._max_body)
        await self._app(scope, counted.receive, send)
        if counted.exceeded:
            await self._refuse(send)

    async def _refuse(self, send: Send) -> None:
        content = json.dumps({"error": f"request body too large: at most {self._max_body} bytes are read"}).encode()
        headers = [
            (b"content-type", b"application/json; charset=utf-8"),
            (b"content-length", str(len(content)).encode()),
        ]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def _announced(scope: Scope) -> int:
    """Content-Length; 0 where there is none or (the server refuses that itself) no number."""
    value = dict(scope["headers"]).get(b"content-length", b"0")
    return int(value) if value.isdigit() else 0


class Counted:
    """A body that ends as if the client had left when it grows past its limit: Django then gives the request up."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._left = limit
        self.exceeded = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left >= 0:
            return message
        self.exceeded = True
        return DISCONNECT


class Body:
    """A body between the event loop, which fills it up to BUFFER_BYTES, and the one thread that reads it.

    The thread never waits for the loop to run something, only for a condition that every way out sets: the loop may
    be waiting for the thread meanwhile.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._shown = False
        self._left = asyncio.Event()  # the client has gone
        self._room = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._changed = threading.Condition()
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._started = self._complete = self._gone = False

    async def stand_in(self) -> Message:
        """What Django receives: an empty body, then nothing until the client leaves."""
        if not self._shown:
            self._shown = True
            return EMPTY
        await self._left.wait()
        return DISCONNECT

    def read(self, size: int = 65536) -> bytes:
        """At most `size` bytes, as soon as there are any; b"" at the end. Raises ClientGone. Blocks: for a thread."""
        with self._changed:
            self._start()
            self._changed.wait_for(lambda: self._chunks or self._complete or self._gone)
            if not self._chunks:
                if self._complete:
                    return b""
                raise ClientGone
            return self._take(size)

    async def close(self) -> None:
        """The request is over: nothing more is received, and a thread that still reads is told so."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        self._lose()

    def _start(self) -> None:
        """Not before the first read: a client that expects a 100 sends nothing for an answer that needs no body."""
        if not self._started and not self._gone:
            self._started = True
            self._loop.call_soon_threadsafe(self._start_pump)

    def _start_pump(self) -> None:
        if not self._gone:
            self._pump = self._loop.create_task(self._fill())

    def _take(self, size: int) -> bytes:
        chunk = self._chunks.popleft()
        if len(chunk) > size:
            self._chunks.appendleft(chunk[size:])
            chunk = chunk[:size]
        was_full = self._size >= BUFFER_BYTES
        self._size -= len(chunk)
        if was_full and self._size < BUFFER_BYTES and not self._gone:
            self._loop.call_soon_threadsafe(self._room.set)
        return chunk

    async def _fill(self) -> None:
        try:
            while (message := await self._receive())["type"] == "http.request":
                if self._put(message.get("body", b""), complete=not message.get("more_body", False)):
                    self._room.clear()
                    await self._wait_for_room()
        finally:
            self._lose()

    def _put(self, chunk: bytes, *, complete: bool) -> bool:
        """Whether the buffer is full now."""
        with self._changed:
            if chunk:
                self._chunks.append(chunk)
                self._size += len(chunk)
            self._complete = complete
            self._changed.notify_all()
            return self._size >= BUFFER_BYTES

    async def _wait_for_room(self) -> None:
        while self._size >= BUFFER_BYTES:
            await self._room.wait()
            self._room.clear()

    def _lose(self) -> None:
        with self._changed:
            self._gone = True
            self._changed.notify_all()
        self._left.set()
