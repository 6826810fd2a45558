"""A message that was written once and filled in is the one that Celery would write."""

import base64
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import current_app
from celery._state import _task_stack
from django.conf import settings

from apps.inference import publishing
from apps.inference.placement import Outcome
from apps.inference.tasks import keep_house

pytestmark = pytest.mark.usefixtures("services")
RUN = str(uuid.uuid4())
ITS_OWN = {"id", "root_id", "correlation_id", "delivery_tag", "reply_to"}  # other ones in each message


@pytest.fixture
def queue() -> Iterator[str]:
    """Nobody's."""
    name = f"inference.{uuid.uuid4().hex}"
    yield name
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(name)


def taken(queue: str) -> list[dict[str, Any]]:
    """The messages that lie there, the oldest first."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        found: Any = client.rpop(queue, 10)
    return [json.loads(message) for message in found or []]


def parts(message: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from message to message."""
    kept = {name: value for name, value in message.items() if name not in {"headers", "properties"}}
    for part in ("headers", "properties"):
        kept |= {f"{part}.{name}": value for name, value in message[part].items() if name not in ITS_OWN}
    return kept


@pytest.mark.parametrize(
    ("task", "arguments", "outcome"),
    [
        (publishing.HAND_OVER, [RUN, 3], lambda queue: Outcome(hand_overs=[(queue, RUN, 3)])),
        (publishing.RECONCILE, [], lambda queue: Outcome(reconcile={queue})),
    ],
)
def test_it_is_what_celery_sends(task: str, arguments: list[Any], outcome: Any, queue: str) -> None:
    publishing.publish(outcome(queue))
    (ours,) = taken(queue)
    current_app.send_task(task, args=arguments, queue=queue, retry=False)
    (theirs,) = taken(queue)
    assert parts(ours) == parts(theirs)
    assert {part: set(ours[part]) for part in ("headers", "properties")} == {
        part: set(theirs[part]) for part in ("headers", "properties")
    }
    assert json.loads(base64.b64decode(ours["body"]))[0] == arguments


def test_each_has_an_id_of_its_own(queue: str) -> None:
    publishing.publish(Outcome(hand_overs=[(queue, RUN, 1), (queue, RUN, 2)]))
    first, second = taken(queue)
    assert first["headers"]["id"] != second["headers"]["id"]
    for message in (first, second):
        ids = {message["headers"]["id"], message["headers"]["root_id"], message["properties"]["correlation_id"]}
        assert ids == {str(uuid.UUID(message["headers"]["id"]))}
    assert [json.loads(base64.b64decode(message["body"]))[0][1] for message in (first, second)] == [1, 2]


def test_the_task_that_publishes_first_is_not_the_parent_of_all(queue: str) -> None:
    task: Any = keep_house
    task.push_request(id="somebody", root_id="somebody", called_directly=False)
    _task_stack.push(task)
    try:
        publishing.publish(Outcome(hand_overs=[(queue, RUN, 1)]))
    finally:
        _task_stack.pop()
        task.pop_request()
    (message,) = taken(queue)
    assert message["headers"]["root_id"] == message["headers"]["id"] and message["headers"]["parent_id"] is None


def test_a_server_that_is_away_is_no_error_of_the_caller(queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run stays admitted, and upkeep publishes it again."""
    away = redis.Redis.from_url("unix:///nowhere/valkey.sock")
    monkeypatch.setattr(publishing, "_client", lambda: away)
    publishing.publish(Outcome(hand_overs=[(queue, RUN, 1)]))
    assert taken(queue) == []
