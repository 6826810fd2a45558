from collections.abc import Callable
from typing import Any

import pytest

from apps.accounts.models import Group, Membership
from apps.audit.models import Entry
from tests.api.corral.conftest import Caller, People

pytestmark = pytest.mark.urls("tests.api.small_urls")
As = Callable[..., Caller]


def members() -> dict[str, str]:
    return dict(Membership.objects.values_list("user__username", "role"))


def test_a_group_is_seen_by_its_people_and_admins_only(people: People, as_: As) -> None:
    for user in (people.alice, people.bob, people.root):
        assert [group["name"] for group in as_(user)("get", "groups").json()["groups"]] == ["herd"]
        seen = as_(user)("get", "groups/HERD").json()["members"]
        assert {row["user"]: row["role"] for row in seen} == {"alice": "owner", "bob": "member"}
    charlie = as_(people.charlie)
    assert charlie("get", "groups").json() == {"groups": []}
    assert charlie("get", "groups/herd").json() == {"error": "group 'herd' not found"}
    assert charlie("get", "groups/nope").json() == {"error": "group 'nope' not found"}


def test_an_owner_says_who_is_in(people: People, as_: As) -> None:
    alice = as_(people.alice)
    assert alice("put", "groups/herd/members/charlie", {}).json()["role"] == "member"
    assert alice("put", "groups/herd/members/Charlie", {"role": "owner"}).json()["role"] == "owner"
    assert alice("delete", "groups/herd/members/bob").status_code == 204
    assert members() == {"alice": "owner", "charlie": "owner"}
    actions = Entry.objects.filter(actor_name="alice", target="group:herd").order_by("id")
    assert [row.action for row in actions] == ["group.add", "group.add", "group.remove"]


def test_a_member_may_leave_but_not_manage_and_a_stranger_finds_nothing(people: People, as_: As) -> None:
    bob, charlie = as_(people.bob), as_(people.charlie)
    assert bob("put", "groups/herd/members/charlie", {}).status_code == 403
    assert bob("put", "groups/herd/members/bob", {"role": "owner"}).status_code == 403
    assert bob("delete", "groups/herd/members/alice").status_code == 403
    assert charlie("put", "groups/herd/members/charlie", {}).status_code == 404
    assert charlie("delete", "groups/herd/members/bob").status_code == 404
    assert members() == {"alice": "owner", "bob": "member"}
    assert bob("delete", "groups/herd/members/bob").status_code == 204
    assert bob("get", "groups/herd").status_code == 404


def test_an_owners_key_that_may_only_infer_lets_nobody_in(people: People, as_: As) -> None:
    weak = as_(people.alice, ("infer",))
    assert weak("put", "groups/herd/members/charlie", {}).status_code == 403
    assert members() == {"alice": "owner", "bob": "member"}


def test_an_admin_makes_and_deletes_groups(people: People, as_: As) -> None:
    root = as_(people.root)
    made = root("post", "groups", {"name": "flock", "owner": "bob"})
    assert made.status_code == 201
    assert [(row["user"], row["role"]) for row in made.json()["members"]] == [("bob", "owner")]
    assert root("post", "groups", {"name": "own"}).json()["members"][0]["user"] == "root"
    assert root("delete", "groups/flock").status_code == 204
    assert not Group.objects.filter(name="flock").exists()
    assert Entry.objects.filter(action="group.delete", target="group:flock").exists()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"name": "a/b"}, 400),
        ({"name": "library"}, 400),
        ({"name": "a\0"}, 400),
        ({"name": []}, 400),
        ({"name": "herd"}, 409),
        ({"name": "ALICE"}, 409),
        ({"name": "flock", "owner": "nobody"}, 404),
        ({"name": "flock", "owner": "a\0"}, 400),
    ],
)
def test_a_bad_or_taken_name_makes_no_group(people: People, as_: As, body: Any, status: int) -> None:
    assert as_(people.root)("post", "groups", body).status_code == status
    assert Group.objects.count() == 1


def test_an_unknown_role_or_user_changes_nothing(people: People, as_: As) -> None:
    alice = as_(people.alice)
    assert alice("put", "groups/herd/members/bob", {"role": "king"}).status_code == 400
    assert alice("put", "groups/herd/members/nobody", {}).status_code == 404
    assert alice("delete", "groups/herd/members/charlie").status_code == 404
    assert members() == {"alice": "owner", "bob": "member"}
