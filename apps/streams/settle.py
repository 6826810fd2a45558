"""Keeps the promise of a PendingStream: waits for the log without a thread, then answers in the fitting form.

The view's thread and its database connection are given back before the wait, so that an open stream holds neither.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Final

from asgiref.sync import markcoroutinefunction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from apps.errors import Problem
from apps.streams import threads
from apps.streams.log import Entry
from apps.streams.pending import PendingStream, Producer, Renderer, keep

HEADERS: Final = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}


class Settle:
    """Stands outside of all middlewares that need threads: they see the promise, and what they add to it is kept."""

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        self._get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        producer = Producer()
        producer.watch_this_task()
        try:
            with producer.expected():
                response = await self._get_response(request)
            if isinstance(response, PendingStream):
                return _dress(await _settle(response, producer), response)
        except BaseException:
            await producer.abandon_soon()
            raise
        await producer.abandon_soon()  # a promise that the view made and did not return
        return response


def _dress(settled: HttpResponseBase, pending: PendingStream) -> HttpResponseBase:
    for name, value in pending.items():
        if name not in {"Content-Type", "Content-Length"}:
            settled.headers.setdefault(name, value)
    settled.cookies.update(pending.cookies)
    return settled


async def _settle(pending: PendingStream, producer: Producer) -> HttpResponseBase:
    await threads.release()
    lines = Lines(pending, producer)
    try:
        if pending.as_stream:
            return await _stream(lines, pending.renderer)
        settled = await _whole(lines, pending.renderer)
    except Problem as problem:
        await producer.abandon_soon()
        settled = pending.renderer.failure(problem)
    threads.lend()
    return settled


async def _whole(lines: "Lines", renderer: Renderer) -> HttpResponse:
    return renderer.whole([entry async for entries in lines.entries() for entry in entries])


async def _stream(lines: "Lines", renderer: Renderer) -> HttpResponseBase:
    await lines.first()
    response = StreamingHttpResponse(lines, content_type=renderer.content_type)
    for name, value in HEADERS.items():
        response[name] = value
    return response


class Lines:
    """The chunks of a streaming answer. What is ready together is one chunk, of whole lines.

    Django calls `close` in a thread when the answer is over, however it ended.
    """

    def __init__(self, pending: PendingStream, producer: Producer) -> None:
        self._pending = pending
        self._renderer = pending.renderer
        self._producer = producer
        self._following = False
        self._chunks = self._read()
        self._first = b""
        self._loop = asyncio.get_running_loop()
        producer.release = self.release

    async def first(self) -> None:
        """Waits for the first bytes, or the end. Raises Problem for an error that comes before them."""
        self._first = await anext(self._chunks, b"")

    def __aiter__(self) -> AsyncGenerator[bytes, None]:
        return self._all()

    def close(self) -> None:
        self._producer.abandon()
        if self._following and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.release)

    def release(self) -> None:
        """Stops following the log; a generator that nobody iterates would not before it is collected. In the loop."""
        if self._following:
            keep(self._chunks.aclose())

    async def entries(self) -> AsyncGenerator[list[Entry], None]:
        """All up to the end. Raises Problem where the log ends with an error."""
        source = self._pending.follow()
        try:
            async for entries in source:
                last = entries[-1]
                if last.terminal:
                    self._producer.finished()
                if last.kind != "error":
                    yield entries
                    continue
                if entries[:-1]:
                    yield entries[:-1]
                raise Problem.from_data(last.data)
        finally:
            await source.aclose()

    async def _all(self) -> AsyncGenerator[bytes, None]:
        await threads.release()  # outer middlewares have used one meanwhile
        try:
            if self._first:
                yield self._first
            async for chunk in self._chunks:
                yield chunk
        finally:
            threads.lend()  # Django closes the response in one

    async def _read(self) -> AsyncGenerator[bytes, None]:
        begun, self._following = False, True
        source = self.entries()
        try:
            async for entries in source:
                if chunk := b"".join(self._written(entries)):
                    begun = True
                    yield chunk
        except Problem as problem:
            if not begun:
                raise
            yield b"".join(self._renderer.lines(Entry("", "error", problem.as_data())))
        finally:
            self._following = False
            await source.aclose()

    def _written(self, entries: Iterable[Entry]) -> Iterable[bytes]:
        return (line for entry in entries for line in self._renderer.lines(entry))
