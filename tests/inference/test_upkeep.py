"""The dead, the late and the untold: every run ends, once, with a sentence."""

import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import OperationalError
from django.utils import timezone

from apps.accounts.models import User
from apps.errors import Problem
from apps.inference import endings, runs, upkeep
from apps.inference.agent import Agent, seat_of
from apps.inference.host import Host, Seat
from apps.inference.models import Replica, ReplicaState, Run, RunState, Worker
from apps.inference.types import RunEnd
from apps.streams import log as event_log
from apps.usage.models import Usage
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def alice() -> User:
    return factories.user("alice")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the house had been calm for a long while."""
    calm = upkeep.Patience()
    calm.calm_since -= 60
    monkeypatch.setattr(upkeep, "_patience", calm)
    upkeep._missing.clear()
    yield


def make_run(user: User, *, state: str = RunState.RUNNING, worker_alive: bool = True, **changes: Any) -> Run:
    seen = timezone.now() - timedelta(seconds=0 if worker_alive else 60)
    worker = Worker.objects.create(name=f"w-{uuid.uuid4().hex[:6]}", host="here", heartbeat_at=seen, memory_bytes=0)
    worker.started_at = timezone.now() - timedelta(hours=1)
    worker.save()
    replica = Replica.objects.create(
        worker=worker, weights="sha256:a", model="m", version="0" * 64, context=512, slots=1, need_bytes=1,
        keep_alive=300, state=ReplicaState.READY,
    )  # fmt: skip
    fields = {"kind": "chat", "model": "m", "version": "0" * 64, "weights": "sha256:a", "context": 512, "attempt": 1}
    run = Run.objects.create(user=user, replica=replica, state=state, request="{}", **{**fields, **changes})
    event_log.default().create(run.log_id, owner=user.pk, ttl=60)
    if state != RunState.ADMITTED:
        event_log.default().claim(run.log_id, run.fence)
    return run


def entries(run: Run) -> list[tuple[str, Any]]:
    return [(entry.kind, entry.data) for entry in event_log.default().entries(run.log_id)]


def test_a_run_of_a_dead_worker_that_said_nothing_waits_again(alice: User) -> None:
    run = make_run(alice, worker_alive=False)
    upkeep.keep_house()
    run.refresh_from_db()
    assert run.state == RunState.QUEUED and run.replica is None and run.request == "{}"
    assert Replica.objects.get().state == ReplicaState.GONE
    assert entries(run) == [], "nobody is told of it"


def test_a_run_of_a_dead_worker_that_had_begun_ends_with_a_sentence(alice: User) -> None:
    run = make_run(alice, worker_alive=False)
    event_log.default().append(run.log_id, run.fence, [("text", {"t": "Hel"})])
    upkeep.keep_house()
    run.refresh_from_db()
    assert (run.state, run.outcome, run.request) == (RunState.ENDED, "error", None)
    kind, data = entries(run)[-1]
    assert kind == "error" and "runner" in data["message"]
    assert Usage.objects.get(run_id=run.pk).outcome == "error"


def test_the_old_attempt_can_write_nothing_more(alice: User) -> None:
    run = make_run(alice, worker_alive=False)
    upkeep.keep_house()
    with pytest.raises(event_log.FencedError):
        event_log.default().append(run.log_id, run.fence, [("text", {"t": "late"})])
    assert not endings.finish(run.pk, attempt=1, end=RunEnd("stop"))
    assert not Usage.objects.exists()


def test_while_everybody_was_cut_off_from_postgres_nobody_is_called_dead(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(alice, worker_alive=False)
    monkeypatch.setattr(upkeep, "_patience", upkeep.Patience())
    upkeep.keep_house()
    run.refresh_from_db()
    assert run.state == RunState.RUNNING


def test_a_run_whose_task_was_lost_is_admitted_anew(alice: User) -> None:
    run = make_run(alice, state=RunState.ADMITTED, admitted_at=timezone.now() - timedelta(seconds=30))
    upkeep.keep_house()
    run.refresh_from_db()
    assert (run.state, run.attempt) == (RunState.ADMITTED, 2)
    assert run.admitted_at and (timezone.now() - run.admitted_at).total_seconds() < 10


def test_a_run_whose_reader_is_gone_is_cancelled(alice: User) -> None:
    run = Run.objects.create(
        user=alice, kind="chat", model="m", version="0" * 64, weights="sha256:a", context=512, reader="nobody:1:abc"
    )
    event_log.default().create(run.log_id, owner=alice.pk, ttl=60)
    upkeep.keep_house()
    run.refresh_from_db()
    assert run.state == RunState.QUEUED, "a moment's absence is forgiven"
    for name in upkeep._missing:
        upkeep._missing[name] -= 60
    upkeep.keep_house()
    run.refresh_from_db()
    assert run.outcome == "cancelled" and entries(run)[-1][1]["message"] == "request canceled"


def test_an_end_that_nobody_wrote_to_the_log_is_written(alice: User) -> None:
    run = make_run(alice, worker_alive=False)
    assert endings.finish(run.pk, attempt=1, end=RunEnd("stop", prompt_tokens=3, output_tokens=2))
    Run.objects.filter(pk=run.pk).update(ended_at=timezone.now() - timedelta(seconds=30))
    upkeep.keep_house()
    assert entries(run)[-1][0] == "error"
    run.refresh_from_db()
    assert run.told


def test_a_run_that_waits_is_cancelled_at_once_and_only_once(alice: User) -> None:
    run = Run.objects.create(user=alice, kind="chat", model="m", version="0" * 64, weights="sha256:a", context=512)
    event_log.default().create(run.log_id, owner=alice.pk, ttl=60)
    runs.cancel(run.pk, why="no more need")
    runs.cancel(run.pk, why="again")
    assert [kind for kind, _ in entries(run)] == ["error"]
    assert Usage.objects.filter(run_id=run.pk).count() == 1


def test_the_end_of_a_run_is_written_once_with_its_usage(alice: User) -> None:
    run = make_run(alice)
    end = RunEnd("stop", prompt_tokens=30, cached_tokens=20, output_tokens=5, eval_ns=2_000_000)
    assert endings.finish(run.pk, attempt=1, end=end)
    endings.tell(run.pk, fence=run.fence, end=end)
    assert not endings.finish(run.pk, attempt=1, end=end, problem=Problem("internal", "late"))
    usage = Usage.objects.get(run_id=run.pk)
    assert (usage.prompt_tokens, usage.cached_tokens, usage.output_tokens, usage.eval_ms) == (30, 20, 5, 2)
    assert usage.user_name == "alice" and usage.outcome == "stop"
    assert entries(run)[-1] == ("end", end.as_data() | {"context": []})


def test_a_run_whose_log_is_lost_ends_instead_of_holding_its_slot(alice: User) -> None:
    run = make_run(alice, worker_alive=False)
    forget(run)
    upkeep.keep_house()
    run.refresh_from_db()
    assert (run.state, run.outcome, run.error) == (RunState.ENDED, "error", "the log of this run is gone")


def test_a_worker_that_is_handed_a_run_without_a_log_ends_it(alice: User) -> None:
    run = make_run(alice, state=RunState.ADMITTED)
    forget(run)
    agent = Agent("lonely")
    agent.take(str(run.pk), run.attempt)
    agent._clerk.close(timeout=10)
    run.refresh_from_db()
    assert (run.state, run.outcome) == (RunState.ENDED, "error")
    assert Usage.objects.get(run_id=run.pk).outcome == "error"


def test_a_worker_takes_no_run_of_an_older_attempt(alice: User) -> None:
    run = make_run(alice, state=RunState.ADMITTED, attempt=2)
    agent = Agent("lonely")
    agent.take(str(run.pk), 1)
    agent._clerk.close(timeout=10)
    run.refresh_from_db()
    assert run.state == RunState.ADMITTED


@pytest.fixture
def lonely(monkeypatch: pytest.MonkeyPatch) -> tuple[Agent, list[Seat]]:
    """A worker whose one host notes who is seated and does nothing."""
    agent, seated = Agent("lonely"), []
    host = Host("replica", {"model_path": ""}, agent)

    def take(seat: Seat) -> bool:
        seated.append(seat)
        return True

    monkeypatch.setattr(host, "take", take)
    monkeypatch.setattr(agent, "_host_of", lambda run: host)
    return agent, seated


def test_a_run_is_seated_before_it_is_ours_and_handed_over_once(lonely: tuple[Agent, list[Seat]], alice: User) -> None:
    run = make_run(alice, state=RunState.ADMITTED)
    agent, seated = lonely
    for _ in range(2):
        agent.take(str(run.pk), 1)
    (seat,) = seated
    assert seat.is_ours() and seat.fence == 2
    run.refresh_from_db()
    assert run.state == RunState.RUNNING and run.started_at


def test_a_message_that_comes_twice_at_once_is_taken_once(
    lonely: tuple[Agent, list[Seat]], alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(alice, state=RunState.ADMITTED)
    agent, seated = lonely
    begin = type(Run.objects).begin

    def meanwhile(*arguments: Any, **named: Any) -> bool:
        agent.take(str(run.pk), run.attempt)
        return bool(begin(Run.objects, *arguments, **named))

    monkeypatch.setattr(Run.objects, "begin", meanwhile)
    agent.take(str(run.pk), run.attempt)
    assert [seat.is_ours() for seat in seated] == [True]
    assert not agent._taking


def test_a_run_whose_beginning_is_in_doubt_is_given_back(
    lonely: tuple[Agent, list[Seat]], alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(alice, state=RunState.ADMITTED)
    agent, seated = lonely
    begin = type(Run.objects).begin

    def doubtful(*arguments: Any, **named: Any) -> bool:
        assert begin(Run.objects, *arguments, **named)
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(Run.objects, "begin", doubtful)
    with pytest.raises(OperationalError):
        agent.take(str(run.pk), run.attempt)
    agent._clerk.close(timeout=10)
    assert [seat.is_ours() for seat in seated] == [False]
    run.refresh_from_db()
    assert (run.state, run.started_at) == (RunState.ADMITTED, None)


def test_a_run_whose_log_cannot_be_asked_is_ours_when_that_is_back(
    lonely: tuple[Agent, list[Seat]], alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(alice, state=RunState.ADMITTED)
    log, failures = event_log.default(), [redis.exceptions.ConnectionError("away")]
    claim = log.claim

    def sometimes(log_id: str, fence: int) -> bool:
        if failures:
            raise failures.pop()
        return claim(log_id, fence)

    monkeypatch.setattr(log, "claim", sometimes)
    agent, seated = lonely
    agent.take(str(run.pk), run.attempt)
    agent._clerk.close(timeout=10)
    assert [seat.is_ours() for seat in seated] == [True] and not failures


@pytest.mark.parametrize("worker_alive", [True, False])
def test_a_replica_stays_loaded_from_the_end_of_its_last_run(alice: User, worker_alive: bool) -> None:
    """Also where its worker has not been heard of, as after an outage of the database."""
    run = make_run(alice, worker_alive=worker_alive, keep_alive=60)
    assert endings.finish(run.pk, attempt=1, end=RunEnd("stop"))
    replica = Replica.objects.get()
    assert replica.keep_alive == 60 and replica.state == ReplicaState.READY
    assert replica.expires_at and 50 < (replica.expires_at - timezone.now()).total_seconds() <= 60


def test_a_replica_that_is_gone_is_not_called_back(alice: User) -> None:
    run = make_run(alice, keep_alive=0)
    Replica.objects.update(state=ReplicaState.GONE)
    assert endings.finish(run.pk, attempt=1, end=RunEnd("stop"))
    assert Replica.objects.get().state == ReplicaState.GONE and Usage.objects.filter(run_id=run.pk).exists()


def test_that_the_caller_was_told_is_noted_with_the_next_heartbeat(alice: User) -> None:
    run = make_run(alice)
    agent, written = Agent("lonely"), threading.Event()
    assert run.replica
    agent._worker_id = run.replica.worker_id
    Worker.objects.filter(pk=agent._worker_id).update(incarnation=agent.incarnation)
    agent.ended(
        Host(str(run.replica_id), {"model_path": ""}, agent), seat_of(run), RunEnd("stop", output_tokens=3), None
    )
    agent._clerk.later(written.set)
    assert written.wait(10)
    run.refresh_from_db()
    assert (run.state, run.told, entries(run)[-1][0]) == (RunState.ENDED, False, "end")
    agent._beat()
    agent._clerk.close(timeout=10)
    run.refresh_from_db()
    assert run.told


def forget(run: Run) -> None:
    """As if Valkey had lost the log."""
    client = redis.Redis.from_url(settings.REDIS_URL)
    key = event_log.stream_key(run.log_id)
    client.delete(key, f"{key}:meta", f"{key}:cancel")
    client.close()
