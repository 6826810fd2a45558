"""A runner's login writes to the logs it was given and does nothing else."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.conf import settings

from apps.inference.runner_login import RunnerLogin
from apps.streams import log as event_log

pytestmark = pytest.mark.usefixtures("services")


@pytest.fixture
def login() -> Iterator[RunnerLogin]:
    made = RunnerLogin(uuid.uuid4().hex)
    yield made
    made.close()


def new_log() -> str:
    log_id = f"run-{uuid.uuid4()}"
    event_log.default().create(log_id, owner=1, ttl=60)
    return log_id


def client(login: RunnerLogin) -> Any:
    return redis.Redis.from_url(login.url, protocol=2)


def test_it_appends_to_the_logs_it_may_write(login: RunnerLogin) -> None:
    mine, other = new_log(), new_log()
    login.allow([mine])
    runners = event_log.from_url(login.url)
    runners.append(mine, 0, [("text", {"t": "hello"})])
    assert [entry.data for entry in event_log.default().entries(mine)] == [{"t": "hello"}]
    with pytest.raises(redis.exceptions.RedisError):
        runners.append(other, 0, [("text", {"t": "not mine"})])
    runners.close()
    assert event_log.default().entries(other) == []


def test_a_log_it_no_longer_holds_is_closed_to_it(login: RunnerLogin) -> None:
    first, second = new_log(), new_log()
    login.allow([first])
    login.allow([second])
    runners = event_log.from_url(login.url)
    runners.append(second, 0, [("text", {"t": "yes"})])
    with pytest.raises(redis.exceptions.RedisError):
        runners.append(first, 0, [("text", {"t": "no"})])
    runners.close()


@pytest.mark.parametrize(
    "command", [("KEYS", "*"), ("GET", "reader:x"), ("XRANGE", "log:{x}", "-", "+"), ("ACL", "LIST")]
)
def test_it_reads_nothing(login: RunnerLogin, command: tuple[str, ...]) -> None:
    login.allow([new_log()])
    connection = client(login)
    with pytest.raises(redis.exceptions.NoPermissionError):
        connection.execute_command(*command)
    connection.close()


def test_before_it_is_allowed_and_after_it_is_closed_nobody_gets_in(login: RunnerLogin) -> None:
    gone = RunnerLogin(uuid.uuid4().hex)
    gone.allow([])
    gone.close()
    for each in (login, gone):
        connection = client(each)
        with pytest.raises(redis.exceptions.AuthenticationError):
            connection.ping()
        connection.close()


def test_an_admins_own_login_is_used_as_it_is(settings: Any) -> None:
    settings.RUNNER_REDIS_URL = "redis://runner:secret@valkey.example/0"
    made = RunnerLogin("x")
    made.allow(["run-1"])
    made.close()
    assert made.url == "redis://runner:secret@valkey.example/0"


def test_the_servers_own_password_is_not_in_it(login: RunnerLogin) -> None:
    assert "default" not in login.url and login.url != settings.REDIS_URL
