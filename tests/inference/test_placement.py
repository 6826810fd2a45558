"""Who runs where. Only rows: no worker is needed to decide, and none is published to."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from apps.accounts.models import User
from apps.compiled import together
from apps.inference import placement, sizing
from apps.inference.models import Replica, ReplicaState, Run, RunState, Worker
from tests import factories

pytestmark = pytest.mark.django_db

SIZING = {
    "general.architecture": "qwen2",
    "qwen2.block_count": 24,
    "qwen2.context_length": 32768,
    "qwen2.embedding_length": 896,
    "qwen2.attention.head_count": 14,
    "qwen2.attention.head_count_kv": 2,
    "tensor_bytes": 485_000_000,
    "vocab_size": 151_936,
    "weights_size": 491_400_064,
}
A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


def need(slots: int = 8, context: int = 4096) -> int:
    plan = sizing.plan(SIZING, context=context, slots=slots, room=10**12, kv_type="f16")
    assert plan is not None
    return plan.need_bytes


@pytest.fixture
def alice() -> User:
    return factories.user("alice")


@pytest.fixture
def bob() -> User:
    return factories.user("bob")


@pytest.fixture
def worker() -> Worker:
    return Worker.objects.create(name="one", host="here", memory_bytes=10 * need())


@pytest.fixture(autouse=True)
def two_slots(settings: Any) -> Iterator[None]:
    settings.NUM_PARALLEL = 2
    settings.MAX_LOADED_MODELS = 0
    yield


def ask(user: User, weights: str = A, **changes: Any) -> Run:
    fields = {"model": "m:latest", "version": "0" * 64, "context": 4096, "kind": "chat", "sizing": SIZING, **changes}
    return Run.objects.create(id=uuid.uuid4(), user=user, weights=weights, **fields)


def admit() -> placement.Outcome:
    with transaction.atomic():
        placement.lock()
        return placement.admit()


def end(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(state=RunState.ENDED, ended_at=timezone.now())


def renew(replica: Replica, *, keep_alive: float | None) -> None:
    with transaction.atomic():
        board, _ = placement.look()
        together(board.renewal(replica, keep_alive=keep_alive))


def state(run: Run) -> str:
    run.refresh_from_db()
    return run.state


def ready(replica: Replica | None) -> Replica:
    assert replica is not None
    replica.state = ReplicaState.READY
    replica.save()
    return replica


def test_a_first_run_makes_a_replica_and_is_handed_to_its_worker(alice: User, worker: Worker) -> None:
    run = ask(alice)
    outcome = admit()
    replica = Replica.objects.get()
    assert outcome.hand_overs == [("inference.one", str(run.pk), 1)]
    assert outcome.reconcile == {"inference.one"}
    assert (replica.state, replica.slots, replica.context, replica.weights) == (ReplicaState.LOADING, 2, 4096, A)
    assert state(run) == RunState.ADMITTED and run.replica == replica


def test_without_a_live_worker_everything_waits(alice: User, worker: Worker) -> None:
    Worker.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    run = ask(alice)
    assert admit().hand_overs == [] and state(run) == RunState.QUEUED


def test_runs_share_a_replica_up_to_its_slots_and_then_wait(alice: User, worker: Worker) -> None:
    worker.memory_bytes = int(1.5 * need(2))
    worker.save()
    runs = [ask(alice) for _ in range(3)]
    admit()
    assert [state(run) for run in runs] == [RunState.ADMITTED, RunState.ADMITTED, RunState.QUEUED]
    assert Replica.objects.count() == 1
    end(runs[0])
    assert [hand_over[1] for hand_over in admit().hand_overs] == [str(runs[2].pk)]


def test_the_user_with_the_fewest_runs_under_way_goes_next(alice: User, bob: User, worker: Worker) -> None:
    worker.memory_bytes = int(1.5 * need(2))
    worker.save()
    greedy = [ask(alice) for _ in range(4)]
    late = ask(bob)
    admit()
    assert [state(run) for run in (*greedy, late)] == ["admitted", "queued", "queued", "queued", "admitted"]


def test_a_users_runs_go_where_their_last_one_was(alice: User, bob: User, worker: Worker) -> None:
    made = [ask(alice, context=context) for context in (4096, 8192)]
    admit()
    small, large = [ready(Replica.objects.get(context=context)) for context in (4096, 8192)]
    for run in made:
        end(run)
    Run.objects.filter(pk=made[1].pk).update(user=bob)
    for user, replica in ((alice, small), (alice, small), (bob, large), (bob, large)):
        run = ask(user)
        admit()
        assert state(run) == RunState.ADMITTED and run.replica == replica
        end(run)
        replica.save()  # as what ends a run does: the database lists it last from now on


def test_the_replica_of_a_users_last_run_may_have_one_run_more_than_another(alice: User, worker: Worker) -> None:
    Replica.objects.bulk_create(
        [Replica(worker=worker, weights=A, context=context, slots=8, need_bytes=1, keep_alive=60, state="ready")
         for context in (4096, 8192)]
    )  # fmt: skip
    small, large = Replica.objects.order_by("context")
    end(ask(alice, replica=large))
    runs = [ask(alice) for _ in range(4)]
    admit()
    assert [state(run) and run.replica for run in runs] == [large, large, small, small]


def test_a_smaller_context_is_served_by_what_is_loaded_and_a_larger_one_gets_a_replica_of_its_own(
    alice: User, worker: Worker
) -> None:
    ask(alice, context=4096)
    admit()
    small = ask(alice, context=512)
    large = ask(alice, context=8192)
    admit()
    small.refresh_from_db()
    large.refresh_from_db()
    assert small.replica and large.replica
    assert (small.replica.context, large.replica.context) == (4096, 8192)


def test_an_option_that_was_named_needs_a_replica_loaded_with_it(alice: User, worker: Worker) -> None:
    first, second = ask(alice), ask(alice, options={"num_thread": 1})
    admit()
    first.refresh_from_db()
    second.refresh_from_db()
    assert first.replica != second.replica and second.replica and second.replica.options == {"num_thread": 1}


def test_the_idle_replica_used_longest_ago_makes_room(alice: User, worker: Worker) -> None:
    worker.memory_bytes = int(2.5 * need(2))
    worker.save()
    for weights, minutes in ((A, 5), (B, 9)):
        end(run := ask(alice, weights))
        Run.objects.filter(pk=run.pk).update(state=RunState.QUEUED)
        admit()
        end(run)
        run.refresh_from_db()
        replica = ready(run.replica)
        Replica.objects.filter(pk=replica.pk).update(last_used_at=timezone.now() - timedelta(minutes=minutes))
    run = ask(alice, C)
    admit()
    assert state(run) == RunState.ADMITTED
    assert Replica.objects.get(weights=B).state == ReplicaState.UNLOADING
    assert Replica.objects.get(weights=A).state == ReplicaState.READY


def test_a_busy_replica_is_never_evicted_but_drains_for_who_waits(alice: User, bob: User, worker: Worker) -> None:
    worker.memory_bytes = int(1.5 * need(2))
    worker.save()
    running = ask(alice, A)
    admit()
    running.refresh_from_db()
    ready(running.replica)
    other = ask(bob, B)
    assert admit().hand_overs == []
    more = ask(alice, A)
    admit()
    assert (state(other), state(more)) == (RunState.QUEUED, RunState.QUEUED)
    assert Replica.objects.get(weights=A).state == ReplicaState.DRAINING
    end(running)
    with transaction.atomic():
        placement.lock()
        assert [replica.weights for replica in placement.expire()] == [A]
        outcome = placement.admit()
    assert [hand_over[1] for hand_over in outcome.hand_overs] == [str(other.pk)]


def test_the_limit_of_loaded_models_holds(alice: User, worker: Worker, settings: Any) -> None:
    settings.MAX_LOADED_MODELS = 1
    ask(alice, A)
    other = ask(alice, B)
    admit()
    assert Replica.objects.count() == 1 and state(other) == RunState.QUEUED


def test_a_second_worker_with_room_takes_what_the_first_has_no_slot_for(alice: User, worker: Worker) -> None:
    worker.memory_bytes = int(1.5 * need(2))
    worker.save()
    Worker.objects.create(name="two", host="there", memory_bytes=int(1.4 * need(2)))
    for _ in range(3):
        ask(alice)
    outcome = admit()
    assert sorted(queue for queue, _, _ in outcome.hand_overs) == ["inference.one", "inference.one", "inference.two"]


def test_fewer_slots_are_loaded_where_memory_is_short(alice: User, worker: Worker, settings: Any) -> None:
    settings.NUM_PARALLEL = 8
    worker.memory_bytes = need(2) + 1000
    worker.save()
    ask(alice)
    admit()
    assert Replica.objects.get().slots == 2


def test_a_worker_that_accepts_nothing_gets_nothing(alice: User, worker: Worker) -> None:
    Worker.objects.update(accepts=False)
    run = ask(alice)
    admit()
    assert state(run) == RunState.QUEUED


def test_the_keep_alive_runs_from_the_end_of_the_last_run(alice: User, worker: Worker) -> None:
    first, second = ask(alice), ask(alice)
    admit()
    first.refresh_from_db()
    replica = ready(first.replica)
    end(first)
    renew(replica, keep_alive=60)
    assert replica.expires_at is None, "another run is still there"
    end(second)
    renew(replica, keep_alive=None)
    assert replica.expires_at and 55 < (replica.expires_at - timezone.now()).total_seconds() <= 60
    assert replica.keep_alive == 60


def test_keep_alive_zero_unloads_at_the_end_and_for_ever_never(alice: User, worker: Worker) -> None:
    run = ask(alice)
    admit()
    run.refresh_from_db()
    replica = ready(run.replica)
    end(run)
    renew(replica, keep_alive=-1)
    assert replica.expires_at is None and replica.state == ReplicaState.READY
    assert placement.expire() == []
    renew(replica, keep_alive=0)
    assert replica.state == ReplicaState.UNLOADING
