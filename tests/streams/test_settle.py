"""PendingStream and Settle under a real uvicorn: statuses, lines and clients that leave."""

import asyncio
import json
import time

import pytest
from django.test import AsyncClient, override_settings

from apps.errors import Problem
from apps.streams import log
from apps.streams.log import EventLog
from apps.streams.pending import PendingStream
from tests.streams import serving
from tests.streams.serving import MIDDLEWARE, Plain, abandoned, ask, eventually, read_all, read_until, slow_view, write


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

    with override_settings(ROOT_URLCONF=serving.__name__, MIDDLEWARE=MIDDLEWARE):
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
