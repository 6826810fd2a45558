from collections.abc import Callable
from typing import Any

import pytest

from apps.accounts.models import User
from apps.compiled import together
from apps.inference.models import Run, RunState
from apps.streams import jobs
from apps.streams import log as event_log
from apps.streams.models import Job
from apps.usage import ledger
from tests.api.corral.conftest import Caller, People

pytestmark = [pytest.mark.urls("tests.api.small_urls"), pytest.mark.usefixtures("services")]
As = Callable[..., Caller]


def queued(user: User, **changes: Any) -> Run:
    fields = {"kind": "chat", "model": "m", "version": "0" * 64, "weights": "sha256:a", "context": 512, **changes}
    run = Run.objects.create(user=user, **fields)
    event_log.default().create(run.log_id, owner=user.pk, ttl=60)
    return run


def ids(answer: Any) -> list[str]:
    return [row["id"] for row in answer.json()["runs"]]


def test_i_see_my_runs_with_their_place_in_the_queue_and_an_admin_sees_all(people: People, as_: As) -> None:
    mine, other = queued(people.alice), queued(people.bob)
    rows = as_(people.alice)("get", "runs").json()["runs"]
    assert [(row["id"], row["state"], row["position"]) for row in rows] == [(str(mine.pk), "queued", 1)]
    assert set(ids(as_(people.root)("get", "runs"))) == {str(mine.pk), str(other.pk)}
    assert ids(as_(people.root, ("infer",))("get", "runs")) == []
    assert as_(people.bob)("get", f"runs/{mine.pk}").status_code == 404


def test_only_open_runs_are_listed_when_asked(people: People, as_: As) -> None:
    waiting = queued(people.alice)
    queued(people.alice, state=RunState.ENDED, outcome="stop")
    assert ids(as_(people.alice)("get", "runs?state=open")) == [str(waiting.pk)]


@pytest.mark.django_db(transaction=True)
def test_a_run_is_cancelled_by_its_owner_or_an_admin_only(people: People, as_: As) -> None:
    first, second = queued(people.alice), queued(people.alice)
    assert as_(people.charlie)("delete", f"runs/{first.pk}").status_code == 404
    assert as_(people.alice)("delete", f"runs/{first.pk}").status_code == 204
    assert as_(people.root)("delete", f"runs/{second.pk}").status_code == 204
    assert list(Run.objects.values_list("outcome", flat=True)) == ["cancelled", "cancelled"]


@pytest.mark.django_db(transaction=True)
def test_a_job_is_seen_and_cancelled_by_its_owner(people: People, as_: As) -> None:
    job = Job.objects.create(kind="nothing", user=people.alice)
    event_log.default().create(job.log_id, owner=people.alice.pk, ttl=60)
    assert [row["kind"] for row in as_(people.alice)("get", "jobs").json()["jobs"]] == ["nothing"]
    assert as_(people.bob)("get", f"jobs/{job.pk}").status_code == 404
    assert as_(people.alice)("delete", f"jobs/{job.pk}").status_code == 204
    assert as_(people.alice)("get", f"jobs/{job.pk}").json()["state"] == "cancelled"
    jobs.cancel(job.pk)


def test_i_see_what_i_used_and_only_an_admin_what_everybody_did(people: People, as_: As) -> None:
    for user, tokens in ((people.alice, 10), (people.bob, 20)):
        run = queued(user)
        fields = {"model": "m", "version": "0" * 64, "kind": "chat", "outcome": "stop", "key_id": None}
        person = {"user_id": user.pk, "user_name": user.username}
        together(ledger.insertion(ledger.Entry(run_id=run.pk, output_tokens=tokens, **person, **fields)))
    assert [row["output_tokens"] for row in as_(people.alice)("get", "usage").json()["usage"]] == [10]
    assert as_(people.alice)("get", "usage?everybody=1").status_code == 403
    everybody = as_(people.root)("get", "usage?everybody=1").json()["usage"]
    assert {row["user_name"]: row["output_tokens"] for row in everybody} == {"alice": 10, "bob": 20}


@pytest.mark.parametrize("days", ["0", "-1", "x", "99999999999999999999", "٣"])
def test_a_nonsense_number_of_days_is_refused(people: People, as_: As, days: str) -> None:
    assert as_(people.alice)("get", f"usage?days={days}").status_code == 400
