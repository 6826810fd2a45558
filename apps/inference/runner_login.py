"""A runner's own Valkey login: it may write to the logs of the runs it holds at this moment, and to nothing else.

The worker sets the login anew with every run it hands over or takes back (one round trip). Where the outside server
refuses ACL commands, CORRAL_RUNNER_REDIS_URL names a login that its admin has made.
"""

import secrets
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import redis
from django.conf import settings

from apps.errors import Problem
from apps.streams.log import stream_key

COMMANDS = ("eval", "evalsha", "xadd", "xlen", "hmget", "hset", "pexpire", "exists", "ping", "client|setname")


class RunnerLogin:
    """`url` is what the runner is given. Errors of the server are redis' own; a refusal is a Problem."""

    def __init__(self, replica_id: str) -> None:
        self._user = f"runner-{replica_id}"
        self._password = secrets.token_urlsafe(24)
        self._client: Any = redis.Redis.from_url(
            settings.REDIS_URL, protocol=2, socket_timeout=2, socket_connect_timeout=2
        )
        self.url = settings.RUNNER_REDIS_URL or _with_login(settings.REDIS_URL, self._user, self._password)

    def allow(self, log_ids: Iterable[str]) -> None:
        """From now on exactly these logs may be written."""
        if settings.RUNNER_REDIS_URL:
            return
        keys = [f"~{stream_key(log_id)}*" for log_id in log_ids]
        rules = ["reset", "on", f">{self._password}", "-@all", *(f"+{name}" for name in COMMANDS), *keys]
        try:
            self._client.execute_command("ACL SETUSER", self._user, *rules)
        except (redis.exceptions.NoPermissionError, redis.exceptions.ResponseError) as error:
            raise Problem(
                "internal",
                f"The Valkey server does not let Corral make logins for its runners ({error}); "
                "make one that may write log:* and name it in CORRAL_RUNNER_REDIS_URL.",
            ) from error

    def close(self) -> None:
        if not settings.RUNNER_REDIS_URL:
            self._client.execute_command("ACL DELUSER", self._user)
        self._client.close()


def _with_login(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(user)}:{quote(password)}@{host}"))
