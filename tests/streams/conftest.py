"""A real Valkey and fresh log ids."""

import uuid

import pytest

from apps.streams import log


@pytest.fixture
def events(services: None) -> log.EventLog:
    return log.default()


@pytest.fixture
def log_id(events: log.EventLog) -> str:
    """An empty log that belongs to user 7 and is owned by fence 0."""
    name = f"test-{uuid.uuid4().hex}"
    events.create(name, owner=7, ttl=60)
    return name
