"""Who sees jobs, and cancels them in the admin."""

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from apps.streams import jobs, log
from apps.streams.models import Job

pytestmark = pytest.mark.django_db(transaction=True)

KIND = "kind-to-be-seen"


def test_alice_sees_her_jobs_an_admin_all_and_charlie_none() -> None:
    users = get_user_model().objects
    alice, charlie = users.create(username="alice"), users.create(username="charlie")
    admin = users.create(username="root1", is_superuser=True)
    job = jobs.start(kind=KIND, user_id=alice.pk, params={})
    seen = Job.objects.filter(kind=KIND)
    assert list(seen.visible_to(alice)) == [job] and list(seen.visible_to(admin)) == [job]
    assert not seen.visible_to(charlie).exists()
    assert log.default().owner(job.log_id) == alice.pk


def test_an_admin_cancels_jobs_in_the_admin() -> None:
    admin = get_user_model().objects.create(username="root1", is_superuser=True)
    job = jobs.start(kind=KIND, user_id=None, params={})
    client = Client()
    client.force_login(admin)
    assert KIND in client.get("/admin/streams/job/").content.decode()
    client.post("/admin/streams/job/", {"action": "cancel_jobs", "_selected_action": [str(job.id)]})
    assert Job.objects.get(id=job.id).state == "cancelled"
    assert client.get("/admin/streams/job/add/").status_code == 403
