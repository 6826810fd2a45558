"""Following logs: from any offset, many at once, slow readers, a server that goes away and comes back."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
from corral import embedded
from corral.processes import Process
from django.conf import settings

from apps.errors import Problem
from apps.streams import log, reader
from apps.streams.log import Entry, EventLog
from apps.streams.tail import batches, tail


async def collect(source: AsyncIterator[Entry]) -> list[Entry]:
    return [entry async for entry in source]


def texts(entries: list[Entry]) -> list[str]:
    return [entry.data["t"] for entry in entries if entry.kind == "text"]


def write(events: EventLog, log_id: str, *words: str) -> None:
    events.append(log_id, 0, [("text", {"t": word}) for word in words])


def test_what_was_written_before_and_after_the_start_arrives_in_order(events: EventLog, log_id: str) -> None:
    async def scenario() -> list[Entry]:
        write(events, log_id, "a", "b")
        task = asyncio.create_task(collect(tail(log_id)))
        await asyncio.sleep(0.05)
        await asyncio.to_thread(write, events, log_id, "c")
        await asyncio.to_thread(events.end, log_id, 0, "end", {"reason": "stop"})
        return await asyncio.wait_for(task, 5)

    entries = asyncio.run(scenario())
    assert texts(entries) == ["a", "b", "c"]
    assert entries[-1].kind == "end" and entries[-1].data == {"reason": "stop"}


def test_a_reader_resumes_behind_the_offset_it_saw_last(events: EventLog, log_id: str) -> None:
    write(events, log_id, "a", "b", "c")
    events.end(log_id, 0, "end", {})
    offset = events.entries(log_id)[1].offset
    assert texts(asyncio.run(collect(tail(log_id, after=offset)))) == ["c"]


def test_behind_the_end_there_is_nothing_and_no_wait(events: EventLog, log_id: str) -> None:
    write(events, log_id, "a")
    events.end(log_id, 0, "end", {})
    offset = events.entries(log_id)[-1].offset
    begun = time.monotonic()
    assert asyncio.run(collect(tail(log_id, after=offset))) == []
    assert time.monotonic() - begun < 1


def test_a_log_that_is_not_there_is_not_found(events: EventLog) -> None:
    with pytest.raises(Problem) as caught:
        asyncio.run(collect(tail("test-nothing")))
    assert caught.value.code == "not_found"


def test_a_log_that_vanishes_while_tailed_is_not_found(events: EventLog, log_id: str) -> None:
    async def scenario() -> None:
        task = asyncio.create_task(collect(tail(log_id)))
        await asyncio.sleep(0.1)
        client = redis.Redis.from_url(settings.REDIS_URL, protocol=2)
        client.delete(log.stream_key(log_id), log.meta_key(log_id))
        client.close()
        await asyncio.wait_for(task, 8)

    with pytest.raises(Problem, match="gone"):
        asyncio.run(scenario())


@pytest.mark.parametrize("offset", ["", "x", "-1", "1-2-3", str(2**64)])
def test_an_impossible_offset_is_refused(events: EventLog, log_id: str, offset: str) -> None:
    with pytest.raises(Problem) as caught:
        asyncio.run(collect(tail(log_id, after=offset)))
    assert caught.value.code == "invalid"


def test_a_new_reader_does_not_wait_for_the_one_that_blocks(events: EventLog, log_id: str) -> None:
    other = f"{log_id}-b"
    events.create(other, owner=None, ttl=60)
    write(events, other, "b")
    events.end(other, 0, "end", {})

    async def scenario() -> float:
        idle = asyncio.create_task(collect(tail(log_id)))
        await asyncio.sleep(0.2)
        begun = time.monotonic()
        assert texts(await collect(tail(other))) == ["b"]
        spent = time.monotonic() - begun
        idle.cancel()
        return spent

    assert asyncio.run(scenario()) < 0.5


def test_two_readers_of_one_log_each_get_what_is_behind_their_own_offset(events: EventLog, log_id: str) -> None:
    write(events, log_id, "a", "b")
    offset = events.entries(log_id)[0].offset

    async def scenario() -> tuple[list[Entry], list[Entry]]:
        both = asyncio.gather(collect(tail(log_id)), collect(tail(log_id, after=offset)))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(write, events, log_id, "c")
        await asyncio.to_thread(events.end, log_id, 0, "end", {})
        first, second = await asyncio.wait_for(both, 5)
        return first, second

    first, second = asyncio.run(scenario())
    assert (texts(first), texts(second)) == (["a", "b", "c"], ["b", "c"])


def test_fifty_logs_share_two_connections_and_lose_nothing(events: EventLog, log_id: str) -> None:
    names = [f"{log_id}-{index}" for index in range(50)]
    for name in names:
        events.create(name, owner=None, ttl=60)
    client = redis.Redis.from_url(settings.REDIS_URL, protocol=2)
    before = int(client.info("clients")["connected_clients"])
    most = 0

    def produce() -> None:
        nonlocal most
        for step in range(40):
            events.append_many([(name, 0, [("text", {"t": f"{step}"})]) for name in names])
            most = max(most, int(client.info("clients")["connected_clients"]))
        for name in names:
            events.end(name, 0, "end", {})

    async def scenario() -> list[list[Entry]]:
        tasks = [asyncio.create_task(collect(tail(name))) for name in names]
        await asyncio.to_thread(produce)
        return await asyncio.wait_for(asyncio.gather(*tasks), 20)

    for entries in asyncio.run(scenario()):
        assert texts(entries) == [str(step) for step in range(40)]
    assert most - before <= 2
    client.close()


def test_a_slow_reader_holds_little_and_loses_nothing(events: EventLog, log_id: str) -> None:
    total = 5 * reader.QUEUE_ENTRIES

    def produce() -> None:
        for start in range(0, total, 64):
            write(events, log_id, *map(str, range(start, start + 64)))
        events.end(log_id, 0, "end", {})

    async def scenario() -> tuple[list[str], int]:
        source = batches(log_id)
        largest, seen = 0, []
        producer = asyncio.create_task(asyncio.to_thread(produce))
        async for entries in source:
            largest = max(largest, len(entries))
            seen += texts(entries)
            await asyncio.sleep(0.05)
        await producer
        return seen, largest

    seen, largest = asyncio.run(scenario())
    assert seen == [str(index) for index in range(total)]
    assert largest <= reader.QUEUE_ENTRIES


def test_large_entries_fill_a_queue_by_their_bytes(events: EventLog, log_id: str) -> None:
    write(events, log_id, *["x" * 200_000] * 30)
    events.end(log_id, 0, "end", {})

    async def scenario() -> list[int]:
        sizes = []
        async for entries in batches(log_id):
            sizes.append(sum(len(entry.data.get("t", "")) for entry in entries))
            await asyncio.sleep(0.02)
        return sizes

    sizes = asyncio.run(scenario())
    assert sum(sizes) == 6_000_000
    assert max(sizes) <= reader.QUEUE_BYTES + 200_000


def test_a_slow_reader_does_not_hold_up_another(events: EventLog, log_id: str) -> None:
    other = f"{log_id}-b"
    events.create(other, owner=None, ttl=60)
    write(events, log_id, *["x"] * (2 * reader.QUEUE_ENTRIES))

    async def scenario() -> list[Entry]:
        slow = batches(log_id)
        await anext(slow)  # and takes no more
        task = asyncio.create_task(collect(tail(other)))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(write, events, other, "quick")
        await asyncio.to_thread(events.end, other, 0, "end", {})
        try:
            return await asyncio.wait_for(task, 2)
        finally:
            await slow.aclose()

    assert texts(asyncio.run(scenario())) == ["quick"]


def test_each_loop_has_a_reader_of_its_own_and_leaves_nothing_behind(events: EventLog, log_id: str) -> None:
    write(events, log_id, "a")
    events.end(log_id, 0, "end", {})
    results: list[list[str]] = []
    readers: list[reader.Reader] = []

    async def scenario() -> None:
        results.append(texts(await collect(tail(log_id))))
        readers.append(reader.of_this_loop())

    threads = [threading.Thread(target=lambda: asyncio.run(scenario())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert results == [["a"]] * 4
    assert len(set(readers)) == 4
    assert not set(readers) & set(reader._readers.values())


def test_a_reader_nobody_uses_ends_by_itself(events: EventLog, log_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "LINGER_SECONDS", 0.1)
    events.end(log_id, 0, "end", {})

    async def scenario() -> tuple[bool, bool]:
        loop = asyncio.get_running_loop()
        await collect(tail(log_id))
        during = loop in reader._readers
        await asyncio.sleep(0.4)
        after = loop in reader._readers
        assert [entry.kind for entry in await collect(tail(log_id))] == ["end"]
        return during, after

    assert asyncio.run(scenario()) == (True, False)


@pytest.fixture
def own_valkey(tmp_path_factory: pytest.TempPathFactory, services: None) -> Iterator[Process]:
    """A second Valkey, so that stopping it harms no other test."""
    root = Path(settings.DATA) / "second"
    embedded.prepare(root)
    yield embedded.valkey(root)


def test_a_tail_survives_a_server_that_is_killed_and_comes_back(
    own_valkey: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = embedded.redis_url(Path(settings.DATA) / "second")
    monkeypatch.setattr(settings, "REDIS_URL", url)
    events = log.from_url(url)
    process = embedded.start(own_valkey)
    try:
        events.create("survivor", owner=None, ttl=60)
        write(events, "survivor", "a")

        async def scenario() -> list[Entry]:
            nonlocal process
            task = asyncio.create_task(collect(tail("survivor")))
            await asyncio.sleep(0.3)
            process.kill()
            process.wait()
            await asyncio.sleep(1.0)
            process = await asyncio.to_thread(embedded.start, own_valkey)
            await asyncio.to_thread(write, events, "survivor", "b")
            await asyncio.to_thread(events.end, "survivor", 0, "end", {})
            return await asyncio.wait_for(task, 5)

        assert texts(asyncio.run(scenario())) == ["a", "b"]
    finally:
        events.close()
        embedded.stop(own_valkey, process)
