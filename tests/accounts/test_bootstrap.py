from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from apps.accounts import bootstrap, keys
from apps.accounts.models import ApiKey, User
from apps.errors import Problem
from tests import factories


@pytest.mark.django_db
def test_an_empty_house_gets_an_admin_with_a_key_of_all_scopes_once() -> None:
    made = bootstrap.ensure_admin()
    assert made is not None
    name, password, secret = made
    assert name == "admin"
    assert User.objects.named("admin").check_password(password)
    key = keys.authenticate(secret)
    assert key is not None and sorted(key.scopes) == ["admin", "infer", "models"]
    assert bootstrap.ensure_admin() is None
    assert User.objects.count() == ApiKey.objects.count() == 1


@pytest.mark.django_db
def test_nobody_is_promoted_for_being_called_admin() -> None:
    factories.user("Admin")
    factories.group("admin-2")
    made = bootstrap.ensure_admin()
    assert made is not None and made[0] == "admin-3"
    assert not User.objects.named("admin").is_superuser


@pytest.mark.django_db(transaction=True)
def test_many_processes_that_start_at_once_make_one_admin() -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: _ensure(), range(4)))
    assert sum(result is not None for result in made) == 1
    assert User.objects.count() == 1


@pytest.mark.django_db
def test_a_lost_admin_is_recovered() -> None:
    lost = factories.admin("root")
    User.objects.update(is_active=False, is_superuser=False)
    user, password = bootstrap.recover_admin("ROOT")
    assert user == lost
    fresh = User.objects.get()
    assert fresh.is_admin and fresh.check_password(password)


@pytest.mark.django_db
def test_recovering_nobody_creates_an_admin_but_never_out_of_a_group() -> None:
    assert bootstrap.recover_admin()[0].is_admin
    factories.group("herd")
    with pytest.raises(Problem, match="not found"):
        bootstrap.recover_admin("herd")


def _ensure() -> tuple[str, str, str] | None:
    try:
        return bootstrap.ensure_admin()
    finally:
        connection.close()
