"""The event log against a real Valkey: one owner, one end, nothing twice."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.conf import settings

from apps.streams import log
from apps.streams.log import EventLog, Fenced, FencedError, Gone, Lost


def texts(events: EventLog, log_id: str) -> list[Any]:
    return [entry.data.get("t") for entry in events.entries(log_id)]


def text(value: str) -> tuple[str, dict[str, Any]]:
    return ("text", {"t": value})


class Deaf(redis.Redis):
    """A client that sends everything and, while `deaf`, loses the answers, as a connection cut at that moment does."""

    deaf = False

    def lose_answers(self) -> None:
        make = self.connection_pool.make_connection

        def deafened() -> Any:
            connection: Any = make()
            send, read = connection.send_packed_command, connection.read_response

            def note(command: Any, **options: Any) -> None:
                connection.asked = any(b"EVAL" in bytes(part) for part in command)
                send(command, **options)

            def lose(*arguments: Any, **options: Any) -> Any:
                answer = read(*arguments, **options)
                if self.deaf and connection.asked:
                    raise redis.exceptions.ConnectionError("the answer got lost")
                return answer

            connection.asked, connection.send_packed_command, connection.read_response = False, note, lose
            return connection

        self.connection_pool.make_connection = deafened  # type: ignore[method-assign]


@pytest.fixture
def deaf(services: None) -> Any:
    client = Deaf.from_url(settings.REDIS_URL, protocol=2)
    client.lose_answers()
    yield client
    client.close()


def test_entries_come_back_in_order_with_their_offsets(events: EventLog, log_id: str) -> None:
    events.append(log_id, 0, [text("a"), ("progress", {"stage": "loading", "fraction": 0.5})])
    events.append(log_id, 0, [text("ü\ud83d")])
    first, second, third = events.entries(log_id)
    assert (first.kind, second.data["fraction"], third.data["t"]) == ("text", 0.5, "ü\ud83d")
    assert events.entries(log_id, after=second.offset) == [third]


def test_a_new_log_is_empty_and_known_with_its_owner(events: EventLog, log_id: str) -> None:
    assert events.exists(log_id)
    assert events.entries(log_id) == []
    assert events.owner(log_id) == 7
    assert not events.exists("test-nothing")
    assert events.owner("test-nothing") is None


def test_creating_a_log_twice_leaves_what_is_in_it(events: EventLog, log_id: str) -> None:
    events.append(log_id, 0, [text("a")])
    events.create(log_id, owner=8, ttl=60)
    assert texts(events, log_id) == ["a"]
    assert events.owner(log_id) == 7


def test_only_a_greater_fence_takes_a_log_over(events: EventLog, log_id: str) -> None:
    assert events.claim(log_id, 3)
    assert not events.claim(log_id, 3)
    assert not events.claim(log_id, 2)
    assert events.claim(log_id, 10)
    assert not events.claim("test-nothing", 1)


def test_a_former_owner_is_refused(events: EventLog, log_id: str) -> None:
    events.claim(log_id, 1)
    with pytest.raises(Fenced):
        events.append(log_id, 0, [text("late")])
    assert not events.end(log_id, 0, "end", {})
    assert events.entries(log_id) == []


def test_the_end_is_written_once_and_closes_the_log(events: EventLog, log_id: str) -> None:
    assert events.end(log_id, 0, "error", {"code": "internal"})
    assert not events.end(log_id, 0, "end", {})
    assert not events.claim(log_id, 5)
    with pytest.raises(Fenced):
        events.append(log_id, 0, [text("after")])
    assert [entry.kind for entry in events.entries(log_id)] == ["error"]


def test_only_end_and_error_end_a_log(events: EventLog, log_id: str) -> None:
    with pytest.raises(ValueError):
        events.end(log_id, 0, "text", {})


def test_a_log_that_is_not_there_is_gone(events: EventLog) -> None:
    with pytest.raises(Gone):
        events.append("test-nothing", 0, [text("a")])
    assert not events.exists("test-nothing")


def test_a_cancel_is_seen_by_the_next_append_and_by_an_empty_one(events: EventLog, log_id: str) -> None:
    assert not events.append(log_id, 0, [text("a")])
    events.cancel(log_id)
    assert events.cancelled(log_id)
    assert events.append(log_id, 0, [text("b")])
    assert events.append(log_id, 0, [])
    assert texts(events, log_id) == ["a", "b"]


def test_cancelling_what_is_not_there_leaves_no_key(events: EventLog) -> None:
    events.cancel("test-nothing")
    assert not events.cancelled("test-nothing")


def test_many_logs_are_written_in_one_call_each_with_its_own_answer(events: EventLog, log_id: str) -> None:
    other = f"{log_id}-b"
    events.create(other, owner=None, ttl=60)
    events.cancel(other)
    answers = events.append_many(
        [(log_id, 0, [text("a")]), (other, 0, []), (f"{log_id}-none", 0, [text("c")]), (log_id + "-b", 4, [])]
    )
    assert answers[:2] == [False, True]
    assert isinstance(answers[2], Gone) and isinstance(answers[3], Fenced)
    assert isinstance(answers[2], FencedError)
    assert texts(events, log_id) == ["a"]


def test_scripts_are_sent_again_to_a_server_that_forgot_them(events: EventLog, log_id: str) -> None:
    redis.Redis.from_url(settings.REDIS_URL, protocol=2).script_flush()
    assert not events.append(log_id, 0, [text("a")])
    redis.Redis.from_url(settings.REDIS_URL, protocol=2).script_flush()
    assert events.claim(log_id, 1)
    assert texts(events, log_id) == ["a"]


def test_every_key_of_a_log_expires(events: EventLog, log_id: str) -> None:
    client = redis.Redis.from_url(settings.REDIS_URL, protocol=2)
    keys = [f"log:{{{log_id}}}{suffix}" for suffix in ("", ":meta", ":cancel")]
    events.append(log_id, 0, [text("a")])
    events.cancel(log_id)
    assert all(0 < client.ttl(key) <= 60 for key in keys)
    assert events.renew(log_id, 120)
    assert all(100 < client.ttl(key) <= 120 for key in keys)
    events.end(log_id, 0, "end", {})
    assert all(120 < client.ttl(key) <= settings.STREAM_TTL_SECONDS for key in keys)
    assert not events.renew(log_id, 5)


def test_an_append_repeated_after_its_answer_got_lost_is_written_once(deaf: Deaf, log_id: str) -> None:
    events = EventLog(deaf, keep_seconds=60)
    events.claim(log_id, 1)
    events.append(log_id, 1, [text("a")])
    deaf.deaf = True
    for tries in ([text("b"), text("c")], [text("b"), text("c"), text("d")]):
        with pytest.raises(redis.exceptions.ConnectionError):
            events.append(log_id, 1, tries)
    deaf.deaf = False
    events.append(log_id, 1, [])
    events.append(log_id, 1, [text("b"), text("c"), text("d"), text("e")])
    assert texts(events, log_id) == ["a", "b", "c", "d", "e"]


def test_what_is_written_instead_of_a_lost_append_is_not_taken_for_it(deaf: Deaf, log_id: str) -> None:
    events = EventLog(deaf, keep_seconds=60)
    events.claim(log_id, 1)
    deaf.deaf = True
    with pytest.raises(redis.exceptions.ConnectionError):
        events.append(log_id, 1, [text("a")])
    deaf.deaf = False
    events.append(log_id, 1, [text("b")])
    events.append(log_id, 1, [text("b")])
    assert texts(events, log_id) == ["a", "b", "b"]


def test_an_end_repeated_after_its_answer_got_lost_still_counts_as_ours(deaf: Deaf, log_id: str) -> None:
    events = EventLog(deaf, keep_seconds=60)
    events.claim(log_id, 1)
    deaf.deaf = True
    with pytest.raises(redis.exceptions.ConnectionError):
        events.end(log_id, 1, "end", {})
    deaf.deaf = False
    assert events.end(log_id, 1, "end", {})
    assert not events.end(log_id, 1, "end", {})
    assert [entry.kind for entry in events.entries(log_id)] == ["end"]


def test_a_server_that_lost_confirmed_entries_is_not_written_to_with_a_hole(events: EventLog, log_id: str) -> None:
    events.claim(log_id, 1)
    events.append(log_id, 1, [text("a"), text("b")])
    redis.Redis.from_url(settings.REDIS_URL, protocol=2).xtrim(f"log:{{{log_id}}}", maxlen=1, approximate=False)
    with pytest.raises(Lost):
        events.append(log_id, 1, [text("c")])


def test_a_log_with_a_hole_does_not_end_as_if_it_were_whole(events: EventLog, log_id: str) -> None:
    events.claim(log_id, 1)
    events.append(log_id, 1, [text("a"), text("b")])
    redis.Redis.from_url(settings.REDIS_URL, protocol=2).xtrim(f"log:{{{log_id}}}", maxlen=1, approximate=False)
    assert events.end(log_id, 1, "end", {})
    assert [entry.kind for entry in events.entries(log_id)] == ["text", "error"]


@pytest.fixture
def limited(log_id: str) -> Iterator[EventLog]:
    """A login that may write one log, as the runner's."""
    admin = redis.Redis.from_url(settings.REDIS_URL, protocol=2)
    commands = ["+eval", "+evalsha", "+xadd", "+xlen", "+hmget", "+hset", "+pexpire", "+exists"]
    rules = ["on", ">secret", "resetkeys", f"~log:{{{log_id}}}*", "-@all", *commands]
    admin.execute_command("ACL", "SETUSER", "limited", *rules)
    password = settings.REDIS_URL.split("default:", 1)[1].split("@", 1)[0]
    events = log.from_url(settings.REDIS_URL.replace(f"default:{password}", "limited:secret"))
    yield events
    events.close()
    admin.execute_command("ACL", "DELUSER", "limited")
    admin.close()


def test_a_login_limited_to_its_streams_can_write_them_and_nothing_else(limited: EventLog, log_id: str) -> None:
    assert limited.claim(log_id, 2)
    assert not limited.append(log_id, 2, [text("a")])
    assert limited.end(log_id, 2, "end", {})
    with pytest.raises(redis.exceptions.NoPermissionError):
        limited.append("another", 0, [text("a")])


def test_a_server_that_is_away_is_an_error_the_caller_can_repeat() -> None:
    away = log.from_url("unix:///nowhere/valkey.sock")
    with pytest.raises(redis.exceptions.ConnectionError):
        away.append("any", 0, [text("a")])
