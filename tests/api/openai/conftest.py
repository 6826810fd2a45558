"""The models and callers of the native door's tests, and a runner that answers what the test wrote."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx
import pytest
import redis
from django.conf import settings

from apps.accounts.models import User
from apps.inference.models import Run
from apps.inference.types import END, ERROR, Request
from apps.streams import log
from tests.api.ollama.conftest import Caller, MakeModel, alice, caller, charlie, make_model

__all__ = ["Caller", "MakeModel", "alice", "caller", "charlie", "make_model"]

FENCE = 10**6  # greater than any that the placement gives out
Entries = Sequence[tuple[str, dict[str, Any]]]
Runner = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def api(caller: Caller, alice: User, make_model: MakeModel) -> httpx.Client:  # noqa: F811
    """alice's client, beside models of hers that can do one thing each."""
    make_model("plain", alice)
    make_model("emb", alice, capabilities=["embedding"])
    make_model("think", alice, capabilities=["completion", "thinking"])
    make_model("able", alice, capabilities=["completion", "tools", "insert"])
    make_model("seer", alice, capabilities=["completion", "vision"])
    return caller(alice)


@contextmanager
def runner(user: User, *answers: Entries) -> Iterator[None]:
    """Answers the next runs of `user`, in the order in which they were started, from another thread."""
    failures: list[BaseException] = []
    thread = threading.Thread(target=_answer, args=(user.pk, answers, failures))
    thread.start()
    try:
        yield
    finally:
        thread.join(30)
    assert not failures, failures


def request_of(run: Run) -> Request:
    """What the run was given, as the worker will read it."""
    assert run.request is not None
    return Request.from_data(json.loads(run.request)["request"])


def only_request() -> Request:
    return request_of(Run.objects.get())


def _answer(user_id: int, answers: Sequence[Entries], failures: list[BaseException]) -> None:
    writer = log.from_url(settings.REDIS_URL)
    try:
        for log_id, entries in zip(_next_logs(user_id, len(answers)), answers, strict=True):
            assert writer.claim(log_id, FENCE)
            writer.append(log_id, FENCE, [entry for entry in entries if entry[0] not in (END, ERROR)])
            assert writer.end(log_id, FENCE, *entries[-1])
    except BaseException as error:  # told in the test's own thread
        failures.append(error)
    finally:
        writer.close()


def _next_logs(user_id: int, count: int) -> list[str]:
    """The open runs' logs, oldest first: Valkey knows when the stream of each was made only by its answers, so the
    order is that of their expiry."""
    client = redis.Redis.from_url(settings.REDIS_URL, decode_responses=True)
    deadline = time.monotonic() + 15
    try:
        while time.monotonic() < deadline:
            found = [key for key in client.scan_iter("log:{run-*}:meta") if _is_open(client, str(key), user_id)]
            if len(found) >= count:
                found.sort(key=client.pexpiretime)
                return [str(key).removeprefix("log:{").removesuffix("}:meta") for key in found[:count]]
            time.sleep(0.01)
    finally:
        client.close()
    raise AssertionError(f"fewer than {count} runs were started")


def _is_open(client: Any, key: str, user_id: int) -> bool:
    owner, ended = client.hmget(key, "owner", "ended")
    return owner == str(user_id) and not ended
