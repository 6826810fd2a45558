"""A real Valkey, fresh log ids and a server that follows them."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from apps.streams import log
from tests.streams.serving import MIDDLEWARE, serving


@pytest.fixture
def events(services: None) -> log.EventLog:
    return log.default()


@pytest.fixture
def log_id(events: log.EventLog) -> str:
    """An empty log that belongs to user 7 and is owned by fence 0."""
    name = f"test-{uuid.uuid4().hex}"
    events.create(name, owner=7, ttl=60)
    return name


@pytest.fixture(scope="module")
def port(django_db_setup: None, django_db_blocker: Any) -> Iterator[int]:
    with django_db_blocker.unblock(), serving(*MIDDLEWARE) as port:
        yield port
