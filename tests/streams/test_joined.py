"""Several logs as one: whose entry it is, when it ends, what an error and a leaving reader do."""

import asyncio
import uuid

import pytest

from apps.errors import Problem
from apps.streams import log
from apps.streams.joined import PART, PART_END, joined
from apps.streams.log import Entry


@pytest.fixture
def logs(events: log.EventLog) -> list[str]:
    names = [f"test-{uuid.uuid4().hex}" for _ in range(3)]
    for name in names:
        events.create(name, owner=7, ttl=60)
    return names


async def told(logs: list[str]) -> list[Entry]:
    return [entry async for entries in joined(logs) for entry in entries]


def test_every_entry_says_whose_it_is_and_one_end_follows_all(events: log.EventLog, logs: list[str]) -> None:
    for part, name in enumerate(logs):
        events.append(name, 0, [("text", {"t": f"{part}a"}), ("text", {"t": f"{part}b"})])
        events.end(name, 0, "end", {"reason": "stop"})
    said = asyncio.run(told(logs))
    for part in range(3):
        own = [(entry.kind, entry.data.get("t")) for entry in said if entry.data.get(PART) == part]
        assert own == [("text", f"{part}a"), ("text", f"{part}b"), (PART_END, None)]
    assert (said[-1].kind, said[-1].data, said[-1].terminal) == ("end", {}, True)
    assert not any(entry.terminal for entry in said[:-1])


def test_what_one_says_does_not_wait_for_another(events: log.EventLog, logs: list[str]) -> None:
    async def read() -> list[str]:
        source = joined(logs)
        seen = []
        for name, text in ((logs[2], "x"), (logs[0], "y"), (logs[2], "z")):
            await asyncio.to_thread(events.append, name, 0, [("text", {"t": text})])
            seen += [f"{entry.data[PART]}{entry.data['t']}" for entry in await asyncio.wait_for(anext(source), 5)]
        await source.aclose()
        return seen

    assert asyncio.run(read()) == ["2x", "0y", "2z"]


def test_the_error_of_one_is_the_error_of_all(events: log.EventLog, logs: list[str]) -> None:
    events.append(logs[0], 0, [("text", {"t": "a"})])
    events.end(logs[1], 0, "error", Problem("busy", "no room").as_data())
    with pytest.raises(Problem, match="no room") as caught:
        asyncio.run(told(logs))
    assert caught.value.status == 503


def test_a_log_that_is_not_there_is_an_error(logs: list[str]) -> None:
    with pytest.raises(Problem) as caught:
        asyncio.run(told([*logs, "test-nowhere"]))
    assert caught.value.code == "not_found"
