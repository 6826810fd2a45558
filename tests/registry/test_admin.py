"""The admin site shows everything and changes what an admin may change."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from apps.audit.models import Entry
from apps.registry.models import Grant, Model
from tests.registry.conftest import People

Make = Callable[..., Model]


@pytest.fixture
def desk(people: People, client: Client) -> Client:
    client.force_login(people.root)
    return client


@pytest.mark.parametrize("kind", ["model", "manifest", "blob"])
def test_every_shelf_opens(kind: str, make: Make, people: People, desk: Client) -> None:
    made = make("m", people.alice, system="hi")
    key = {"model": made.pk, "manifest": made.manifest_id, "blob": made.manifest.config_blob_id}[kind]
    assert desk.get(reverse(f"admin:registry_{kind}_changelist")).status_code == 200
    assert desk.get(reverse(f"admin:registry_{kind}_changelist") + "?q=m").status_code == 200
    assert desk.get(reverse(f"admin:registry_{kind}_change", args=[key])).status_code == 200


def test_publishing_is_an_action_and_is_recorded(make: Make, people: People, desk: Client) -> None:
    made = make("m", people.alice)
    for action, published in (("publish", True), ("unpublish", False)):
        data = {"action": action, "_selected_action": [made.pk]}
        desk.post(reverse("admin:registry_model_changelist"), data)
        assert Model.objects.get(pk=made.pk).published is published
        assert Entry.objects.latest("id").action == f"model.{action}"


def test_a_grant_that_is_given_here_is_recorded(make: Make, people: People, desk: Client) -> None:
    made = make("m", people.alice)
    form = {"owner_user": people.alice.pk, "owner_group": "", "grants-TOTAL_FORMS": 1, "grants-INITIAL_FORMS": 0,
            "grants-0-user": people.bob.pk, "grants-0-group": ""}  # fmt: skip
    desk.post(reverse("admin:registry_model_change", args=[made.pk]), form)
    grant = Grant.objects.get()
    assert grant.user == people.bob
    assert Entry.objects.latest("id").action == "grant.give"
    form |= {"grants-INITIAL_FORMS": 1, "grants-0-id": grant.pk, "grants-0-model": made.pk, "grants-0-DELETE": "on"}
    desk.post(reverse("admin:registry_model_change", args=[made.pk]), form)
    assert not Grant.objects.exists()
    assert Entry.objects.latest("id").action == "grant.withdraw"


@pytest.mark.django_db(transaction=True)
def test_a_model_that_is_deleted_here_goes_with_its_manifest(make: Make, people: People, desk: Client) -> None:
    made = make("m", people.alice)
    desk.post(reverse("admin:registry_model_delete", args=[made.pk]), {"post": "yes"})
    assert not Model.objects.exists()
    assert Entry.objects.filter(action="model.delete").exists()


def test_the_site_is_closed_to_alice(make: Make, people: People, client: Client) -> None:
    make("m", people.alice)
    client.force_login(people.alice)
    assert client.get(reverse("admin:registry_model_changelist")).status_code == 302
