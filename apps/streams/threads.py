"""Threads for what a request runs synchronously, kept for the next one.

Django starts a thread for each request and ends it behind it, which holds up the event loop for a millisecond and more
(docs/benchmarks.md). A thread that is given back has done all it was asked for, and holds no database connection.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import structlog
from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.db import close_old_connections

KEPT: Final = 8  # more idle ones end
logger = structlog.get_logger(__name__)
_idle: deque[Executor] = deque()
_lent = SyncToAsync.context_to_thread_executor


class Threads:
    """ASGI wrapper: what a request runs by `sync_to_async` runs in one thread, which outlives the request.

    asgiref's own way to give a context an executor refuses calls of tasks that outlive the request, as those do that
    tell a producer that its client left; hence the entry in its table.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async with ThreadSensitiveContext():
            lend()
            try:
                await self._app(scope, receive, send)
            finally:
                give_back()


def lend() -> None:
    """Gives this request a thread, unless it has one. Without this a synchronous call would start a new one."""
    context = _context()
    if context is not None and context not in _lent:
        _lent[context] = _idle.pop() if _idle else ThreadPoolExecutor(1, thread_name_prefix="request")


async def release() -> None:
    """Lets go of this request's thread and its database connection; a later synchronous call takes another.

    Without such a thread (a test client's request) only the connection is given back.
    """
    give_back()
    if _context() is None:
        await sync_to_async(close_old_connections)()


def give_back() -> None:
    """The thread is free once it has done what it was asked for, such as the view of a client that left."""
    context = _context()
    executor = None if context is None else _lent.pop(context, None)
    if executor is not None:
        executor.submit(close_old_connections).add_done_callback(partial(_keep, executor))


def afterwards(work: Callable[[], None]) -> None:
    """Has the request's thread do what its answer need not wait for, once it is through with what it does now. At once
    where a request was lent none, as in a command, or a test's client."""
    context = _context()
    executor = None if context is None else _lent.get(context)
    if executor is None:
        work()
    else:
        executor.submit(work).add_done_callback(_tell)


def _context() -> Any:
    return SyncToAsync.thread_sensitive_context.get(None)


def _keep(executor: Executor, closed: "Future[None]") -> None:
    error = closed.exception()
    if error is None and len(_idle) < KEPT:
        _idle.append(executor)
        return
    if error is not None:
        logger.error("connections_not_closed", error=str(error))
    executor.shutdown(wait=False)


def _tell(done: "Future[None]") -> None:
    if error := done.exception():
        logger.error("left_undone", error=str(error), exc_info=error)
