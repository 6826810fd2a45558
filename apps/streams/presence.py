"""Which processes are there to read: a key with a short life, renewed by a thread of each.

A caller who waits over HTTP waits at one web process. When that is killed, nobody is left to notice that the caller
is gone, so a run names its reader, and upkeep cancels the runs of readers that have been missing for a while.
"""

import atexit
import functools
import os
import socket
import threading
import uuid
from collections.abc import Iterable

import redis
import structlog
from django.conf import settings

log = structlog.get_logger(__name__)
LIFE_SECONDS = 10
RENEW_SECONDS = 3.0


def here() -> str:
    """This process's name as a reader; from the first call on it is kept alive."""
    return _announce(os.getpid())


def present(readers: Iterable[str]) -> set[str]:
    """Those of `readers` that are alive."""
    names = list(readers)
    values = _client().mget([_key(name) for name in names]) if names else []
    return {name for name, value in zip(names, values, strict=True) if value is not None}


def _key(name: str) -> str:
    return f"reader:{{{name}}}"


@functools.cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2)


@functools.cache
def _announce(pid: int) -> str:
    """Once a process (the argument tells a forked child from its parent)."""
    name = f"{socket.gethostname()[:40]}:{pid}:{uuid.uuid4().hex[:12]}"
    _renew(name)
    threading.Thread(target=_renew_forever, args=(name,), name="presence", daemon=True).start()
    return name


def _renew_forever(name: str) -> None:
    leaving = threading.Event()
    atexit.register(leaving.set)
    while not leaving.wait(RENEW_SECONDS):
        _renew(name)


def _renew(name: str) -> None:
    try:
        _client().set(_key(name), 1, ex=LIFE_SECONDS)
    except redis.exceptions.RedisError as error:
        log.warning("presence_not_renewed", error=str(error))
