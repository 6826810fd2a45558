"""The trail is append-only in the database itself, and outlives the people in it."""

import pytest
from django.db import IntegrityError, transaction

from apps import audit
from apps.audit.models import Entry
from tests import factories

pytestmark = pytest.mark.django_db


def test_an_entry_can_be_neither_changed_nor_deleted_by_any_path() -> None:
    audit.record(actor=None, action="thing.do", target="thing:1")
    entry = Entry.objects.get()
    entry.action = "nothing"
    for change in (
        lambda: entry.save(),
        lambda: Entry.objects.update(action="nothing"),
        lambda: Entry.objects.all().delete(),
        lambda: Entry.objects.bulk_update([entry], ["action"]),
    ):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            change()
    assert Entry.objects.get().action == "thing.do"


def test_an_entry_outlives_its_actor() -> None:
    alice = factories.user("alice")
    number = alice.pk
    audit.record(actor=alice, action="thing.do", target="thing:1", detail={"a": [1, None]})
    alice.delete()
    entry = Entry.objects.get()
    assert (entry.actor_id, entry.actor_name, entry.detail) == (number, "alice", {"a": [1, None]})


def test_the_operator_has_no_name() -> None:
    audit.record(actor=None, action="thing.do", target="thing:1")
    entry = Entry.objects.get()
    assert (entry.actor_id, entry.actor_name) == (None, "")
    assert str(entry) == "operator thing.do thing:1"


def test_what_is_rolled_back_was_never_done() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        audit.record(actor=None, action="thing.do", target="thing:1")
        raise ZeroDivisionError
    assert not Entry.objects.exists()
