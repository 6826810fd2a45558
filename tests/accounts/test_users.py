from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from apps.accounts import users
from apps.accounts.models import User
from apps.audit.models import Entry
from apps.errors import Problem
from tests import factories


def test_a_new_user_gets_a_password_that_works_and_is_not_recorded(root: User) -> None:
    user, password = users.create(username="alice", actor=root)
    assert user.check_password(password) and len(password) >= 20
    entry = Entry.objects.get(action="user.create")
    assert (entry.actor_name, entry.target) == ("root", "user:alice")
    assert password not in str(entry.detail)


@pytest.mark.parametrize("name", ["alice", "ALICE", "herd"])
def test_a_taken_name_is_a_conflict_and_leaves_nothing(alice: User, name: str) -> None:
    factories.group("herd")
    with pytest.raises(Problem, match="is taken") as caught:
        users.create(username=name)
    assert caught.value.status == 409
    assert User.objects.count() == 1
    assert not Entry.objects.filter(action="user.create").exists()


@pytest.mark.parametrize("password", ["", "short", "password123"])
def test_a_weak_password_is_refused(db: None, password: str) -> None:
    with pytest.raises(Problem) as caught:
        users.create(username="alice", password=password)
    assert caught.value.status == 400


def test_the_last_admin_cannot_be_disabled_or_demoted(root: User) -> None:
    for lose in (users.set_active, users.set_admin):
        with pytest.raises(Problem, match="last admin"):
            lose(root, False)
    second = factories.admin("second")
    users.set_active(root, False, actor=second)
    with pytest.raises(Problem, match="last admin"):
        users.set_admin(second, False)


def test_a_change_of_two_things_is_both_or_neither(root: User) -> None:
    with pytest.raises(Problem):
        users.change(root, is_active=False, is_admin=True)
    factories.admin("second")
    users.change(root, is_active=False, is_admin=False)
    root.refresh_from_db()
    assert not root.is_active and not root.is_superuser
    with pytest.raises(Problem):
        users.change(User.objects.named("second"), is_active=True, is_admin=False)


def test_changes_are_recorded_once(alice: User, root: User) -> None:
    for _ in range(2):
        users.set_active(alice, False, actor=root)
        users.set_admin(alice, True, actor=root)
    actions = Entry.objects.filter(target="user:alice").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["user.disable", "user.make_admin"]


def test_a_password_reset_ends_what_knew_the_old_one(alice: User) -> None:
    before = alice.get_session_auth_hash()
    password = users.reset_password(alice)
    fresh = User.objects.get(pk=alice.pk)
    assert fresh.check_password(password)
    assert fresh.get_session_auth_hash() != before


def test_only_admins_have_the_rights_of_the_admin_site(alice: User, root: User) -> None:
    assert root.is_staff and root.has_perm("any.thing") and root.has_module_perms("accounts")
    assert not alice.is_staff and not alice.has_perm("any.thing") and not alice.has_module_perms("accounts")
    root.is_active = False
    assert not root.is_admin and not root.is_staff and not root.has_perms(["any.thing"])


@pytest.mark.django_db(transaction=True)
def test_two_admins_who_demote_each_other_at_once_leave_one() -> None:
    pair = [factories.admin("one"), factories.admin("two")]
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(_demote, pair))
    assert sorted(outcomes) == ["done", "refused"]
    assert User.objects.admins().count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_name_asked_for_by_many_at_once_is_given_to_one() -> None:
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(_create, ["alice", "Alice", "ALICE", "aLICE"]))
    assert sorted(outcomes) == ["done", "refused", "refused", "refused"]


def _demote(user: User) -> str:
    try:
        users.set_admin(user, False)
        return "done"
    except Problem:
        return "refused"
    finally:
        connection.close()


def _create(name: str) -> str:
    try:
        users.create(username=name)
        return "done"
    except Problem:
        return "refused"
    finally:
        connection.close()
