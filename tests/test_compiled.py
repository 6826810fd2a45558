"""apps/compiled.py: what is compiled once answers like the query set it was made of."""

import pytest
from django.db.models import Q, QuerySet

from apps.accounts.models import User
from apps.compiled import Compiled
from tests import factories


def named(name: str, number: int = 0) -> QuerySet[User, tuple[int, str]]:
    return User.objects.filter(Q(username=name) | Q(pk=number), is_active=True).values_list("pk", "username")


@pytest.mark.django_db
def test_each_call_binds_its_own_values() -> None:
    alice, bob = factories.user("alice"), factories.user("bob")
    ask = Compiled(named, name=str, number=int)
    assert ask(name="alice", number=0) == [(alice.pk, "alice")]
    assert ask(name="nobody", number=bob.pk) == [(bob.pk, "bob")]


@pytest.mark.django_db
def test_constants_of_the_query_set_are_kept() -> None:
    alice = factories.user("alice")
    ask = Compiled(named, name=str, number=int)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert ask(name="alice", number=alice.pk) == []


@pytest.mark.django_db
def test_a_parameter_that_the_query_does_not_use_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="unused"):
        Compiled(lambda name, unused: named(name), name=str, unused=str)(name="a", unused="b")
