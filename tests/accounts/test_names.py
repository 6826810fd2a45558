"""One grammar and one uniqueness for the names of users and groups."""

import pytest
from django.db import IntegrityError, transaction

from apps.accounts import names
from apps.accounts.models import Group, Handle, User
from apps.errors import Problem
from tests import factories

GOOD = ("a", "_a", "A-b_9", "9lives", "x" * 80, "admin")
BAD = ("", "-a", "a b", "a/b", "a:b", "a.b", "x" * 81, "ällan", "a\0", "a\n", "\u212a", "library", "LOCAL")


@pytest.mark.parametrize("name", GOOD)
def test_a_name_of_the_grammar_is_taken(name: str) -> None:
    assert names.check(name) == name


@pytest.mark.parametrize("name", BAD)
def test_a_name_outside_the_grammar_or_reserved_is_refused(name: str) -> None:
    with pytest.raises(Problem) as caught:
        names.check(name)
    assert caught.value.status == 400


@pytest.mark.django_db
@pytest.mark.parametrize("second", ["alice", "ALICE"])
def test_two_users_cannot_share_a_name_in_any_case(second: str) -> None:
    factories.user("alice")
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.bulk_create([User(username=second, password="x")])


@pytest.mark.django_db
def test_a_group_cannot_take_a_users_name_nor_a_user_a_groups() -> None:
    factories.user("alice")
    factories.group("herd")
    with pytest.raises(IntegrityError), transaction.atomic():
        Group.objects.create(name="Alice")
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.create(username="HERD", password="x")


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["library", "Local", "a b", "-x"])
def test_the_database_refuses_what_the_grammar_refuses(name: str) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Group.objects.create(name=name)
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.bulk_create([User(username=name, password="x")])


@pytest.mark.django_db
def test_a_name_never_changes_but_other_fields_do() -> None:
    alice = factories.user("alice")
    User.objects.filter(pk=alice.pk).update(email="a@example.org")
    with pytest.raises(IntegrityError, match="names never change"), transaction.atomic():
        User.objects.filter(pk=alice.pk).update(username="alicia")


@pytest.mark.django_db
def test_a_deleted_bearer_gives_the_name_back() -> None:
    factories.user("alice").delete()
    assert not Handle.objects.exists()
    assert factories.group("alice").name == "alice"
