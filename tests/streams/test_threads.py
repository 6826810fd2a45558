"""What an answer costs the web process: request threads, connections, and what is done behind it."""

import threading
import time
import uuid
from types import SimpleNamespace

import pytest
from asgiref.sync import SyncToAsync
from django.db import connections

from apps.streams import reader, threads
from apps.streams.log import EventLog
from apps.streams.threads import KEPT
from tests.streams.serving import (
    abandoned,
    ask,
    done_afterwards,
    eventually,
    may_do_the_rest,
    promised,
    read_all,
    read_until,
    serving,
    threads_of_views,
    write,
)


def lent() -> list[object]:
    """Requests that hold a thread."""
    return list(SyncToAsync.context_to_thread_executor)


def request_threads() -> list[str]:
    return [
        thread.name for thread in threading.enumerate() if thread.name.startswith(("request", "ThreadPoolExecutor"))
    ]


def followed() -> set[str]:
    return {log_id for each in list(reader._readers.values()) for log_id in list(each._logs)}


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
