from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from apps.accounts import keys
from apps.accounts.models import User
from apps.audit.models import Entry
from tests import factories
from tests.api.corral.conftest import Caller, People

pytestmark = pytest.mark.urls("tests.api.small_urls")
As = Callable[..., Caller]


def test_me_tells_who_and_how_and_what(people: People, as_: As) -> None:
    body = as_(people.alice, ("infer",))("get", "me").json()
    assert body["user"]["name"] == "alice" and body["user"]["admin"] is False
    assert body["groups"] == [{"name": "herd", "role": "owner"}]
    assert (body["signed_in_by"], body["scopes"]) == ("key", ["infer"])


def test_a_browser_signs_in_by_session_and_needs_the_csrf_token_to_change(people: People) -> None:
    browser = Client(enforce_csrf_checks=True, HTTP_HOST="localhost", REMOTE_ADDR="203.0.113.9")
    assert browser.login(username="ALICE", password=factories.PASSWORD)
    assert browser.get("/api/corral/me").json()["signed_in_by"] == "session"
    body = {"name": "from a page"}
    refused = browser.post("/api/corral/keys", body, content_type="application/json")
    assert refused.status_code == 403 and "CSRF" in refused.json()["error"]
    browser.cookies["csrftoken"] = "a" * 32
    made = browser.post("/api/corral/keys", body, content_type="application/json", HTTP_X_CSRFTOKEN="a" * 32)
    assert made.status_code == 201


def test_a_disabled_user_is_out_at_once_by_key_and_by_session(people: People, as_: As) -> None:
    caller, browser = as_(people.bob), Client(HTTP_HOST="localhost", REMOTE_ADDR="203.0.113.9")
    browser.force_login(people.bob)
    assert as_(people.root)("patch", "users/bob", {"active": False}).json()["active"] is False
    assert caller("get", "me").status_code == 401
    assert browser.get("/api/corral/me").status_code == 401
    as_(people.root)("patch", "users/BOB", {"active": True})
    assert caller("get", "me").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("get", "users", None),
        ("post", "users", {"name": "mallory", "admin": True}),
        ("get", "users/alice", None),
        ("patch", "users/charlie", {"admin": True}),
        ("post", "users/root/password", {}),
        ("get", "audit", None),
        ("post", "groups", {"name": "mine"}),
        ("delete", "groups/herd", None),
    ],
)
def test_admins_rooms_are_closed_to_others_and_to_keys_without_the_scope(
    people: People, as_: As, method: str, path: str, body: Any
) -> None:
    before = list(User.objects.values())
    for caller in (as_(people.alice), as_(people.charlie), as_(people.root, ("infer", "models"))):
        reply = caller(method, path, body)
        assert reply.status_code == 403 and reply.json()["error"]
    assert [{**row, "last_login": None} for row in User.objects.values()] == before


def test_an_admin_makes_a_user_whose_password_is_shown_once(people: People, as_: As) -> None:
    root = as_(people.root)
    made = root("post", "users", {"name": "Dora", "email": "d@example.org"})
    assert made.status_code == 201
    password = made.json()["password"]
    assert User.objects.named("dora").check_password(password)
    assert password not in root("get", "users").content.decode()
    given = root("post", "users", {"name": "Emil", "password": " spaces are kept "})
    assert "password" not in given.json()
    assert User.objects.named("emil").check_password(" spaces are kept ")
    assert Entry.objects.filter(action="user.create", actor_name="root").count() == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"name": "a b"}, 400),
        ({"name": "library"}, 400),
        ({"name": "LOCAL"}, 400),
        ({"name": "a\0"}, 400),
        ({"name": "x" * 81}, 400),
        ({"name": 5.5}, 400),
        ({"name": ["a"]}, 400),
        ({"name": "dora", "password": "short"}, 400),
        ({"name": "dora", "password": 12}, 400),
        ({"name": "dora", "password": "x" * 201}, 400),
        ({"name": "dora", "email": "nowhere"}, 400),
        ({"name": "dora", "admin": "perhaps"}, 400),
        ({"name": "dora", "is_superuser": True}, 400),
        ({"name": "Alice"}, 409),
        ({"name": "HERD"}, 409),
    ],
)
def test_a_bad_or_taken_name_or_field_makes_nobody(people: People, as_: As, body: Any, status: int) -> None:
    reply = as_(people.root)("post", "users", body)
    assert reply.status_code == status
    assert User.objects.count() == 4


def test_the_last_admin_stays(people: People, as_: As) -> None:
    root = as_(people.root)
    assert root("patch", "users/root", {"active": False}).status_code == 409
    assert root("patch", "users/root", {"admin": False}).status_code == 409
    assert root("patch", "users/alice", {"admin": True}).json()["admin"] is True
    assert root("patch", "users/root", {"admin": False}).status_code == 200
    assert root("get", "users").status_code == 403


def test_an_admin_gives_a_new_password(people: People, as_: As) -> None:
    root = as_(people.root)
    password = root("post", "users/alice/password", {}).json()["password"]
    assert User.objects.named("alice").check_password(password)
    assert root("post", "users/alice/password", {"password": "tiny"}).status_code == 400
    assert root("post", "users/alice/password", {"password": "quite long enough"}).json() == {}
    assert User.objects.named("alice").check_password("quite long enough")


@pytest.mark.parametrize("name", ["nobody", "a%00", "%ff", "x" * 3000, "..", "a%2Fb"])
def test_an_unknown_user_is_not_found(people: People, as_: As, name: str) -> None:
    root = as_(people.root)
    assert root("get", f"users/{name}").status_code == 404
    assert root("patch", f"users/{name}", {"active": False}).status_code == 404


def test_a_demoted_admins_key_loses_the_rooms_with_the_office(people: People, as_: As) -> None:
    second = factories.admin("second")
    _, secret = keys.issue(user=second, name="k", scopes=["infer", "admin"])
    client = Client(HTTP_HOST="localhost", REMOTE_ADDR="203.0.113.9", HTTP_AUTHORIZATION=f"Bearer {secret}")
    assert client.get("/api/corral/users").status_code == 200
    as_(people.root)("patch", "users/second", {"admin": False})
    assert client.get("/api/corral/users").status_code == 403
