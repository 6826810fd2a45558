"""What the machines that watch Corral are told."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from apps.inference.models import LEASE, Worker


def worker(*, seen: timedelta) -> Worker:
    return Worker.objects.create(name="gpu-1", host="here", heartbeat_at=timezone.now() - seen)


def test_alive_is_answered_whatever_is_missing(client: Client, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


@pytest.mark.django_db
def test_ready_is_answered_when_everything_is_there(client: Client) -> None:
    worker(seen=timedelta())
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


@pytest.mark.django_db
def test_a_worker_that_was_not_heard_of_for_a_lease_is_missing(client: Client) -> None:
    worker(seen=LEASE)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["missing"]) == (503, ["an inference worker"])


@pytest.mark.django_db
def test_a_valkey_that_does_not_answer_is_missing(client: Client, settings: Settings) -> None:
    worker(seen=timedelta())
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["missing"]) == (503, ["valkey"])


@pytest.mark.django_db
def test_everyone_may_ask(client: Client) -> None:
    for path in ("/healthz", "/readyz"):
        assert client.get(path, headers={"X-Forwarded-For": "192.0.2.1"}).status_code in (200, 503)
