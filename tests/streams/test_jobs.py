"""Jobs: rows, logs, leases; what happens to both when a worker dies or a server is away."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from corral import embedded
from django.conf import settings
from django.db import connection, connections
from django.utils import timezone

from apps.errors import Problem
from apps.streams import jobs, leases, log, running
from apps.streams.models import Job

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def kind() -> Iterator[str]:
    name = f"kind-{uuid.uuid4().hex[:8]}"
    yield name
    jobs.HANDLERS.pop(name, None)


def start(kind: str, **fields: Any) -> Job:
    return jobs.start(kind=kind, user_id=None, params=fields.pop("params", {}), **fields)


def frames(job: Job) -> list[tuple[str, dict[str, Any]]]:
    return [(entry.kind, entry.data) for entry in log.default().entries(job.log_id)]


def fresh(job: Job) -> Job:
    return Job.objects.get(id=job.id)


def sweep() -> None:
    """Two sweeps: the first after a pause only notes that the reaper is back."""
    jobs.reap()
    jobs.reap()


def in_thread(target: Callable[[], None]) -> threading.Thread:
    def body() -> None:
        try:
            target()
        finally:
            connections.close_all()

    thread = threading.Thread(target=body)
    thread.start()
    return thread


def test_a_job_tells_its_progress_and_ends(kind: str) -> None:
    @jobs.handler(kind)
    def work(job: jobs.Running) -> None:
        job.progress("pulling", completed=job.params["n"], total=10)
        job.check_cancelled()
        job.progress("success")

    job = start(kind, params={"n": 3})
    assert (fresh(job).state, frames(job)) == ("queued", [])
    jobs.run(job.id)
    assert frames(job) == [
        ("progress", {"status": "pulling", "completed": 3, "total": 10}),
        ("progress", {"status": "success"}),
        ("end", {}),
    ]
    row = fresh(job)
    assert (row.state, row.attempt, row.announced, row.error) == ("done", 1, True, None)


def test_the_task_is_sent_to_the_registry_queue_when_the_transaction_commits(kind: str) -> None:
    client = redis.Redis.from_url(settings.REDIS_URL, protocol=2)
    client.delete(jobs.QUEUE)
    job = start(kind)
    sent = client.lrange(jobs.QUEUE, 0, -1)
    client.close()
    assert len(sent) == 1 and str(job.id).encode() in sent[0] and jobs.TASK.encode() in sent[0]
    assert fresh(job).published_at is not None


def test_a_problem_of_the_handler_is_the_error_of_row_and_frame(kind: str) -> None:
    @jobs.handler(kind)
    def work(job: jobs.Running) -> None:
        raise Problem("invalid", "no such file")

    job = start(kind)
    jobs.run(job.id)
    assert frames(job) == [("error", {"code": "invalid", "message": "no such file", "status": 400})]
    assert (fresh(job).state, fresh(job).error) == ("failed", frames(job)[0][1])


def test_an_unforeseen_exception_is_not_told_to_the_caller(kind: str) -> None:
    @jobs.handler(kind)
    def work(job: jobs.Running) -> None:
        raise ValueError("the secret detail")

    job = start(kind)
    jobs.run(job.id)
    [(name, data)] = frames(job)
    assert (name, data["code"], data["status"]) == ("error", "internal", 500)
    assert "secret" not in data["message"] and "Traceback" not in data["message"]


def test_a_kind_nobody_handles_fails_instead_of_waiting(kind: str) -> None:
    job = start(kind)
    jobs.run(job.id)
    assert frames(job)[0][1]["code"] == "internal"


def test_a_task_that_comes_twice_does_its_job_once(kind: str) -> None:
    calls: list[int] = []
    jobs.handler(kind)(lambda job: calls.append(job.attempt))
    job = start(kind)
    jobs.run(job.id)
    jobs.run(job.id)
    jobs.run(uuid.uuid4())
    assert calls == [1]


def test_the_same_key_gives_the_live_job_and_later_a_new_one(kind: str) -> None:
    jobs.handler(kind)(lambda job: None)
    first = start(kind, key="library/m")
    assert start(kind, key="library/m").id == first.id
    assert start(kind, key="library/other").id != first.id
    assert start(f"{kind}-b", key="library/m").id != first.id
    assert start(kind).id != start(kind).id
    jobs.run(first.id)
    assert start(kind, key="library/m").id != first.id


def test_many_who_start_the_same_at_once_share_one_job(kind: str) -> None:
    seen: list[uuid.UUID] = []
    threads = [in_thread(lambda: seen.append(start(kind, key="k").id)) for _ in range(8)]
    for thread in threads:
        thread.join(20)
    assert len(seen) == 8 and len(set(seen)) == 1


def test_cancelling_a_queued_job_ends_it_at_once(kind: str) -> None:
    calls: list[int] = []
    jobs.handler(kind)(lambda job: calls.append(1))
    job = start(kind)
    jobs.cancel(job.id)
    assert (fresh(job).state, frames(job)[0][0], frames(job)[0][1]["code"]) == ("cancelled", "error", "cancelled")
    jobs.run(job.id)
    assert calls == []
    jobs.cancel(job.id)
    assert len(frames(job)) == 1


def test_cancelling_what_is_not_there_is_not_found(kind: str) -> None:
    with pytest.raises(Problem, match="no such job"):
        jobs.cancel(uuid.uuid4())


def test_cancelling_a_running_job_stops_its_handler(kind: str) -> None:
    begun = threading.Event()

    @jobs.handler(kind)
    def work(job: jobs.Running) -> None:
        begun.set()
        while True:
            job.check_cancelled()
            time.sleep(0.01)

    job = start(kind)
    thread = in_thread(lambda: jobs.run(job.id))
    assert begun.wait(5)
    jobs.cancel(job.id)
    thread.join(3)
    assert not thread.is_alive()
    assert (fresh(job).state, frames(job)[-1][1]["code"]) == ("cancelled", "cancelled")


def test_progress_notices_a_cancel_too(kind: str) -> None:
    @jobs.handler(kind)
    def work(job: jobs.Running) -> None:
        jobs.cancel(job.id)
        job.progress("one")
        job.check_cancelled()
        job.progress("two")

    job = start(kind)
    jobs.run(job.id)
    assert [name for name, _ in frames(job)] == ["progress", "error"]


def test_the_lease_is_renewed_while_the_handler_works(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.2)
    leases_seen: list[Any] = []

    @jobs.handler(kind)
    def work(job: jobs.Running) -> None:
        for _ in range(3):
            leases_seen.append(Job.objects.get(id=job.id).lease_until)
            time.sleep(0.5)

    job = start(kind)
    jobs.run(job.id)
    assert leases_seen[0] < leases_seen[1] < leases_seen[2]
    assert fresh(job).lease_until is None


def test_the_thread_of_the_leases_ends_with_the_last_job(kind: str) -> None:
    jobs.handler(kind)(lambda job: None)
    jobs.run(start(kind).id)
    deadline = time.monotonic() + 2
    while any(thread.name == "job-leases" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_job_whose_worker_was_killed_ends_with_an_error(kind: str, tmp_path: Path) -> None:
    job = start(kind)
    script = tmp_path / "worker.py"
    script.write_text(
        "import sys, time, uuid, django\n"
        "django.setup()\n"
        "from apps.streams import jobs\n"
        f"@jobs.handler({kind!r})\n"
        "def work(job):\n"
        "    job.progress('half way')\n"
        "    time.sleep(60)\n"
        "jobs.run(uuid.UUID(sys.argv[1]))\n"
    )
    name = connection.settings_dict["NAME"]
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "corral.settings",
        "CORRAL_DATA": str(settings.DATA),
        "REDIS_URL": settings.REDIS_URL,
        "DATABASE_URL": embedded.database_url(Path(settings.DATA)).replace("@/corral?", f"@/{name}?"),
    }
    worker = subprocess.Popen([sys.executable, str(script), str(job.id)], env=environment)
    deadline = time.monotonic() + 30
    while not frames(job):
        assert time.monotonic() < deadline and worker.poll() is None
        time.sleep(0.05)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    sweep()
    assert fresh(job).state == "running", "its lease has not run out yet"
    Job.objects.filter(id=job.id).update(lease_until=timezone.now() - timedelta(seconds=1))
    sweep()
    assert fresh(job).state == "failed"
    assert frames(job)[-1][0] == "error" and "interrupted" in frames(job)[-1][1]["message"]
    assert fresh(job).error == frames(job)[-1][1]


def test_a_worker_that_was_given_up_can_neither_write_nor_end(kind: str) -> None:
    @jobs.handler(kind)
    def work(job: jobs.Running) -> None:
        Job.objects.filter(id=job.id).update(lease_until=timezone.now() - timedelta(seconds=1))
        sweep()
        with pytest.raises(jobs.Cancelled):
            job.progress("still here")
        with pytest.raises(jobs.Cancelled):
            job.check_cancelled()

    job = start(kind)
    jobs.run(job.id)
    assert fresh(job).state == "failed"
    assert [name for name, _ in frames(job)] == ["error"]


def test_the_first_sweep_after_an_outage_interrupts_nobody(kind: str) -> None:
    job = start(kind)
    Job.objects.filter(id=job.id).update(
        state="running", attempt=1, worker="elsewhere", lease_until=timezone.now() - timedelta(seconds=1)
    )
    client = redis.Redis.from_url(settings.REDIS_URL, protocol=2)
    client.delete(jobs.SWEPT_KEY)
    client.close()
    jobs.reap()
    assert fresh(job).state == "running"
    jobs.reap()
    assert fresh(job).state == "failed"


def test_a_last_frame_that_is_missing_is_written_by_the_reaper(kind: str) -> None:
    done, failed = start(kind), start(kind)
    before = timezone.now() - timedelta(seconds=5)
    error = Problem("no_space", "full").as_data()
    Job.objects.filter(id=done.id).update(state="done", attempt=1, ended_at=before)
    Job.objects.filter(id=failed.id).update(state="failed", attempt=1, ended_at=before, error=error)
    jobs.reap()
    assert frames(done) == [("end", {})]
    assert frames(failed) == [("error", error)]
    assert fresh(done).announced and fresh(failed).announced


def test_a_task_that_got_lost_is_sent_again(kind: str) -> None:
    client = redis.Redis.from_url(settings.REDIS_URL, protocol=2)
    client.delete(jobs.QUEUE)
    lost, young = start(kind), start(kind)
    client.delete(jobs.QUEUE)
    long_ago = timezone.now() - timedelta(seconds=60)
    Job.objects.filter(id=lost.id).update(created_at=long_ago, published_at=long_ago)
    jobs.reap()
    sent = client.lrange(jobs.QUEUE, 0, -1)
    client.close()
    assert len(sent) == 1 and str(lost.id).encode() in sent[0]
    assert fresh(young).state == "queued"


class Cut:
    """A Valkey address that can be taken away: a socket path that is renamed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hidden = path.with_suffix(".hidden")

    def __enter__(self) -> None:
        self.path.rename(self.hidden)
        client = redis.Redis(unix_socket_path=str(self.hidden), password=_password(), protocol=2)
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        client.close()

    def __exit__(self, *_: object) -> None:
        self.hidden.rename(self.path)


def _password() -> str:
    return str(settings.REDIS_URL.split("default:", 1)[1].split("@", 1)[0])


def test_a_job_outlasts_an_event_log_that_is_away(kind: str) -> None:
    cut = Cut(embedded.valkey_socket(Path(settings.DATA)))
    away = threading.Event()

    @jobs.handler(kind)
    def work(job: jobs.Running) -> None:
        job.progress("one")
        with cut:
            away.set()
            writer = threading.Thread(target=lambda: job.progress("two"))
            writer.start()
            time.sleep(0.7)
            assert writer.is_alive()
        writer.join(5)
        job.progress("three")

    job = start(kind)
    jobs.run(job.id)
    assert away.is_set()
    assert [data.get("status") for _, data in frames(job)] == ["one", "two", "three", None]
    assert fresh(job).state == "done"


def test_an_end_waits_for_the_event_log(kind: str) -> None:
    cut = Cut(embedded.valkey_socket(Path(settings.DATA)))
    jobs.handler(kind)(lambda job: cut.__enter__())
    job = start(kind)
    back = threading.Timer(0.7, cut.__exit__)
    back.start()
    jobs.run(job.id)
    back.join()
    assert frames(job) == [("end", {})]
    assert fresh(job).announced


def test_starting_while_the_event_log_is_away_is_a_clear_refusal_without_a_row(kind: str) -> None:
    with Cut(embedded.valkey_socket(Path(settings.DATA))), pytest.raises(Problem) as caught:
        start(kind)
    assert caught.value.status == 503
    assert not Job.objects.filter(kind=kind).exists()


def test_a_worker_that_cannot_say_the_end_in_time_leaves_it_to_the_reaper(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "PATIENCE_SECONDS", 0.3)
    cut = Cut(embedded.valkey_socket(Path(settings.DATA)))
    jobs.handler(kind)(lambda job: cut.__enter__())
    job = start(kind)
    try:
        with pytest.raises(redis.exceptions.ConnectionError):
            jobs.run(job.id)
    finally:
        cut.__exit__()
    assert (fresh(job).state, fresh(job).announced, frames(job)) == ("done", False, [])
    Job.objects.filter(id=job.id).update(ended_at=timezone.now() - timedelta(seconds=5))
    jobs.reap()
    assert frames(job) == [("end", {})]
