"""start, load, unload, loaded: what a door may ask for, and who may shorten or lengthen whose stay."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.accounts import access
from apps.accounts.models import User
from apps.errors import Problem
from apps.inference import runs
from apps.inference.models import Replica, ReplicaState, Run, RunState, Worker
from apps.inference.types import LoadOptions, Message, Request
from apps.registry.resolve import Version
from apps.streams import log as event_log
from tests import factories
from tests.inference.test_placement import SIZING, need

pytestmark = pytest.mark.django_db(transaction=True)
WEIGHTS = "sha256:" + "d" * 64
ASK = Request(kind="chat", messages=(Message("user", "a NUL \x00 and an emoji 🐎"),))


def version() -> Version:
    return Version(
        typed="m", name="m:latest", canonical="registry.ollama.ai/library/m:latest", digest="0" * 64, weights=WEIGHTS,
        weights_size=1, system="", messages=(), params={}, template="", capabilities=("completion",), info=SIZING,
    )  # fmt: skip


@pytest.fixture
def alice() -> access.Access:
    return access.by_session(factories.user("alice"))


@pytest.fixture
def admin() -> access.Access:
    return access.by_session(factories.admin())


@pytest.fixture
def worker(settings: Any) -> Worker:
    settings.NUM_PARALLEL = 1
    return Worker.objects.create(name="one", host="here", memory_bytes=int(1.5 * need(1)))


def replica(worker: Worker, **changes: Any) -> Replica:
    fields = {
        "weights": WEIGHTS,
        "model": "m:latest",
        "version": "0" * 64,
        "context": 4096,
        "slots": 1,
        "need_bytes": 1,
    }
    return Replica.objects.create(worker=worker, keep_alive=300, state=ReplicaState.READY, **{**fields, **changes})


def active(user: User, on: Replica) -> Run:
    fields = {"model": "m", "version": "0" * 64, "weights": WEIGHTS, "context": 512, "kind": "chat", "attempt": 1}
    return Run.objects.create(id=uuid.uuid4(), user=user, replica=on, state=RunState.RUNNING, **fields)


def test_a_run_keeps_the_request_until_its_end_and_its_log_belongs_to_the_caller(
    alice: access.Access, worker: Worker
) -> None:
    run = runs.start(access=alice, version=version(), request=ASK, request_id="abc")
    row = Run.objects.get(pk=run.pk)
    assert (row.state, row.attempt, row.request_id) == (RunState.ADMITTED, 1, "abc")
    assert row.request and "\\u0000" in row.request
    assert event_log.default().owner(run.log_id) == alice.user.pk


def test_a_full_queue_says_so_and_leaves_nothing(alice: access.Access, worker: Worker, settings: Any) -> None:
    settings.MAX_QUEUE = 1
    for _ in range(2):
        runs.start(access=alice, version=version(), request=ASK)
    with pytest.raises(Problem) as refused:
        runs.start(access=alice, version=version(), request=ASK)
    assert refused.value.status == 503 and "please try again.  maximum" in refused.value.message
    assert Run.objects.count() == 2


def test_what_no_worker_could_ever_hold_is_refused_at_once(alice: access.Access, worker: Worker) -> None:
    Worker.objects.update(memory_bytes=1000)
    with pytest.raises(Problem) as refused:
        runs.start(access=alice, version=version(), request=ASK)
    assert refused.value.status == 400 and "memory" in refused.value.message
    assert not Run.objects.exists()


def test_the_context_is_the_wanted_one_within_what_the_model_was_trained_for(
    alice: access.Access, worker: Worker, settings: Any
) -> None:
    Worker.objects.update(memory_bytes=10**12)
    settings.CONTEXT_LENGTH = 2048
    wanted = [LoadOptions(), LoadOptions(num_ctx=512), LoadOptions(num_ctx=10**6)]
    asked = [Request(kind="chat", messages=ASK.messages, load=load) for load in wanted]
    rows = [runs.start(access=alice, version=version(), request=request) for request in asked]
    assert [run.context for run in rows] == [2048, 512, 32768]


@pytest.mark.parametrize(("asked", "given"), [(60.0, 60.0), (7200.0, 3600.0), (-1.0, 3600.0), (0.0, 0.0), (None, None)])
def test_only_an_admin_keeps_a_model_longer_than_the_setting_allows(
    alice: access.Access, admin: access.Access, worker: Worker, settings: Any, asked: float | None, given: float | None
) -> None:
    settings.MAX_KEEP_ALIVE = "1h"
    assert runs.load(access=alice, version=version(), load=LoadOptions(), keep_alive=asked).keep_alive == given
    assert runs.load(access=admin, version=version(), load=LoadOptions(), keep_alive=asked).keep_alive == asked


def test_an_idle_replica_is_unloaded_at_a_word(alice: access.Access, worker: Worker) -> None:
    loaded = replica(worker)
    runs.unload(access=alice, version=version())
    loaded.refresh_from_db()
    assert loaded.state == ReplicaState.UNLOADING


def test_a_replica_in_anothers_use_stays_at_a_users_word_and_goes_after_its_runs_at_an_admins(
    alice: access.Access, admin: access.Access, worker: Worker
) -> None:
    loaded = replica(worker)
    active(factories.user("bob"), loaded)
    runs.unload(access=alice, version=version())
    loaded.refresh_from_db()
    assert (loaded.state, loaded.keep_alive) == (ReplicaState.READY, 300)
    runs.unload(access=admin, version=version())
    loaded.refresh_from_db()
    assert (loaded.state, loaded.keep_alive) == (ReplicaState.READY, 0)


def test_one_that_never_ran_can_be_listed_by_whoever_sees_a_model_of_it_only(worker: Worker) -> None:
    replica(worker, expires_at=timezone.now() + timedelta(minutes=5))
    assert runs.loaded(factories.user("charlie")) == [], "no model of these weights is in charlie's sight"
