"""The websocket of a log: who may follow it, from where, and how it ends."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.routing import URLRouter

from apps.streams import reader
from apps.streams.log import EventLog
from apps.streams.routing import websocket_urlpatterns


def person(pk: int | None, **fields: Any) -> SimpleNamespace:
    """What the session or the key in front of us puts into the scope."""
    known = {"pk": pk, "is_authenticated": pk is not None, "is_active": True, "is_superuser": False}
    return SimpleNamespace(**{**known, **fields})


ALICE, CHARLIE, NOBODY = person(7), person(8), person(None)
ADMIN = person(1, is_superuser=True)


class Client:
    """A websocket client at the application itself."""

    def __init__(self, user: Any, address: str) -> None:
        path, _, query = f"/ws/streams/{address}".partition("?")
        self.scope = {"type": "websocket", "path": path, "query_string": query.encode(), "headers": [], "user": user}
        self._application = ApplicationCommunicator(URLRouter(websocket_urlpatterns), self.scope)

    async def __aenter__(self) -> "Client":
        await self._application.send_input({"type": "websocket.connect"})
        assert (await self.event())["type"] == "websocket.accept"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._application.send_input({"type": "websocket.disconnect", "code": 1001})
        await self._application.wait(5)

    async def event(self) -> dict[str, Any]:
        return await self._application.receive_output(5)

    async def message(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads((await self.event())["text"])
        return message


async def read_all(user: Any, address: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All messages, and the close."""
    messages: list[dict[str, Any]] = []
    async with Client(user, address) as client:
        while (event := await client.event())["type"] == "websocket.send":
            messages.append(json.loads(event["text"]))
    return messages, event


def write(events: EventLog, log_id: str, *words: str) -> None:
    events.append(log_id, 0, [("text", {"t": word}) for word in words])


@pytest.mark.parametrize("user", [ALICE, ADMIN])
def test_the_owner_and_an_admin_read_a_log_to_its_end(events: EventLog, log_id: str, user: Any) -> None:
    write(events, log_id, "a", "b")
    events.end(log_id, 0, "end", {"reason": "stop"})
    messages, close = asyncio.run(read_all(user, log_id))
    assert [(each["kind"], each["data"]) for each in messages] == [
        ("text", {"t": "a"}),
        ("text", {"t": "b"}),
        ("end", {"reason": "stop"}),
    ]
    assert [each["offset"] for each in messages] == [entry.offset for entry in events.entries(log_id)]
    assert close["code"] == 1000


def test_a_reload_continues_behind_the_last_offset_seen(events: EventLog, log_id: str) -> None:
    write(events, log_id, "a", "b", "c")
    offset = events.entries(log_id)[0].offset

    async def scenario() -> list[str]:
        async with Client(ALICE, f"{log_id}?from={offset}") as client:
            seen = [(await client.message())["data"]["t"] for _ in range(2)]
            await asyncio.to_thread(write, events, log_id, "d")
            return [*seen, (await client.message())["data"]["t"]]

    assert asyncio.run(scenario()) == ["b", "c", "d"]


def test_a_reader_at_the_end_is_closed_at_once(events: EventLog, log_id: str) -> None:
    events.end(log_id, 0, "end", {})
    offset = events.entries(log_id)[-1].offset
    messages, close = asyncio.run(read_all(ALICE, f"{log_id}?from={offset}"))
    assert (messages, close["code"]) == ([], 1000)


@pytest.mark.parametrize(
    ("user", "code"),
    [(NOBODY, 4401), (None, 4401), (person(7, is_active=False), 4403), (CHARLIE, 4404)],
)
def test_whoever_may_not_is_told_why_and_nothing_else(events: EventLog, log_id: str, user: Any, code: int) -> None:
    write(events, log_id, "secret")
    messages, close = asyncio.run(read_all(user, log_id))
    assert messages == []
    assert close["code"] == code and close["reason"]


def test_a_log_of_another_and_none_at_all_look_alike(events: EventLog, log_id: str) -> None:
    another = asyncio.run(read_all(CHARLIE, log_id))
    nothing = asyncio.run(read_all(CHARLIE, "test-nothing"))
    assert another == nothing


def test_an_impossible_offset_closes_with_a_reason(events: EventLog, log_id: str) -> None:
    assert asyncio.run(read_all(ALICE, f"{log_id}?from=yesterday"))[1]["code"] == 4400


def test_a_client_that_leaves_ends_its_tail(events: EventLog, log_id: str) -> None:
    async def scenario() -> tuple[int, int]:
        async with Client(ALICE, log_id):
            await asyncio.sleep(0.2)
            during = len(reader.of_this_loop()._logs)
        return during, len(reader.of_this_loop()._logs)

    assert asyncio.run(scenario()) == (1, 0)


def test_a_reader_that_takes_nothing_makes_us_hold_little(events: EventLog, log_id: str) -> None:
    for _ in range(20):
        write(events, log_id, *["x" * 1000] * 64)

    async def scenario() -> int:
        blocked = asyncio.Event()

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "websocket.send":
                await blocked.wait()

        async def receive() -> dict[str, Any]:
            if not connected:
                connected.append(True)
                return {"type": "websocket.connect"}
            await blocked.wait()
            return {"type": "websocket.disconnect", "code": 1001}

        connected: list[bool] = []
        scope = Client(ALICE, log_id).scope
        task = asyncio.create_task(URLRouter(websocket_urlpatterns)(scope, receive, send))
        await asyncio.sleep(0.5)
        [[subscription]] = reader.of_this_loop()._logs.values()
        held = len(subscription._ready)
        blocked.set()
        await task
        return held

    assert 0 < asyncio.run(scenario()) <= reader.QUEUE_ENTRIES
