"""Django's admin site for people, keys and the trail: for admins only, secrets unreadable, changes recorded."""

import pytest
from django.test import Client

from apps.accounts import keys
from apps.accounts.models import ApiKey, ClientKey, Group, User
from apps.audit.models import Entry
from tests import factories

LOCAL = {"HTTP_HOST": "localhost"}
LISTS = ("accounts/user", "accounts/group", "accounts/apikey", "accounts/clientkey", "audit/entry")
NO_MEMBERS = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}


@pytest.fixture
def site(root: User) -> Client:
    client = Client(**LOCAL)
    client.force_login(root)
    return client


@pytest.mark.parametrize("page", LISTS)
def test_every_list_opens_for_an_admin_and_for_nobody_else(site: Client, alice: User, page: str) -> None:
    key, _ = keys.issue(user=alice, name="k")
    assert site.get(f"/admin/{page}/").status_code == 200
    other = Client(**LOCAL)
    other.force_login(alice)
    assert other.get(f"/admin/{page}/").status_code == 302


def test_a_key_shows_no_digest_and_can_only_be_revoked(site: Client, alice: User) -> None:
    key, secret = keys.issue(user=alice, name="k")
    page = site.get(f"/admin/accounts/apikey/{key.pk}/change/")
    assert page.status_code == 200 and key.digest not in page.content.decode()
    assert site.get("/admin/accounts/apikey/add/").status_code == 403
    site.post("/admin/accounts/apikey/", {"action": "revoke", "_selected_action": [key.pk]})
    assert keys.authenticate(secret) is None
    assert Entry.objects.filter(action="key.revoke", actor_name="root").exists()
    assert ApiKey.objects.count() == 1


def test_a_user_is_added_changed_and_never_renamed_or_deleted(site: Client) -> None:
    form = {
        "username": "Dora",
        "password1": "long enough 4 all",
        "password2": "long enough 4 all",
        "usable_password": "true",
    }
    assert site.post("/admin/accounts/user/add/", form).status_code == 302
    dora = User.objects.named("dora")
    page = f"/admin/accounts/user/{dora.pk}/change/"
    assert site.post(page, {"username": "Other", "is_active": "on", "email": "d@example.org"}).status_code == 302
    dora.refresh_from_db()
    assert (dora.username, dora.email) == ("Dora", "d@example.org")
    assert site.get(f"/admin/accounts/user/{dora.pk}/delete/").status_code == 403
    actions = Entry.objects.filter(target="user:Dora").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["user.create", "user.change"]


@pytest.mark.parametrize("name", ["ROOT", "herd", "a b", "library"])
def test_a_taken_or_bad_name_is_a_form_error_not_a_crash(site: Client, name: str) -> None:
    factories.group("herd")
    form = {
        "username": name,
        "password1": "long enough 4 all",
        "password2": "long enough 4 all",
        "usable_password": "true",
    }
    assert site.post("/admin/accounts/user/add/", form).status_code == 200
    assert site.post("/admin/accounts/group/add/", {"name": name, **NO_MEMBERS}).status_code == 200
    assert (User.objects.count(), Group.objects.count()) == (1, 1)


def test_an_admin_cannot_lock_the_own_door(site: Client, root: User) -> None:
    site.post(f"/admin/accounts/user/{root.pk}/change/", {"email": "r@example.org"})
    root.refresh_from_db()
    assert root.is_admin and root.email == "r@example.org"


def test_a_group_and_its_members_are_recorded(site: Client, alice: User) -> None:
    rows = {
        "memberships-TOTAL_FORMS": "1", "memberships-INITIAL_FORMS": "0",
        "memberships-0-user": str(alice.pk), "memberships-0-role": "owner",
    }  # fmt: skip
    assert site.post("/admin/accounts/group/add/", {"name": "herd", **rows}).status_code == 302
    entry = Entry.objects.get(action="group.create")
    assert (entry.target, entry.detail) == ("group:herd", {"members": {"alice": "owner"}})
    group = Group.objects.get()
    assert site.post(f"/admin/accounts/group/{group.pk}/delete/", {"post": "yes"}).status_code == 302
    assert Entry.objects.filter(action="group.delete", target="group:herd").exists()


def test_the_trail_can_be_read_and_nothing_else(site: Client, alice: User) -> None:
    keys.issue(user=alice, name="k")
    entry = Entry.objects.get()
    assert site.get(f"/admin/audit/entry/{entry.pk}/change/").status_code == 200
    assert site.post(f"/admin/audit/entry/{entry.pk}/change/", {"action": "x"}).status_code == 403
    assert site.post(f"/admin/audit/entry/{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    assert not ClientKey.objects.exists()
