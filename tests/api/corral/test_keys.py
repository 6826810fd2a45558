import datetime
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.utils import timezone

from apps.accounts import client_keys, keys
from apps.accounts.models import ApiKey, ClientKey
from tests.api.corral.conftest import Caller, People

pytestmark = pytest.mark.urls("tests.api.small_urls")
As = Callable[..., Caller]


def pub_line() -> str:
    return f"ssh-ed25519 {client_keys.encode(Ed25519PrivateKey.generate().public_key())} me@there"


def test_a_key_is_made_shown_once_listed_used_and_revoked(people: People, as_: As) -> None:
    alice = as_(people.alice)
    made = alice("post", "keys", {"name": "laptop"})
    assert made.status_code == 201
    body = made.json()
    assert body["scopes"] == ["infer", "models"] and body["expires_at"] is None
    assert keys.authenticate(body["secret"]) is not None
    listed = alice("get", "keys")
    assert "laptop" in [key["name"] for key in listed.json()["keys"]]
    assert body["secret"] not in listed.content.decode() and "digest" not in listed.content.decode()
    assert alice("delete", f"keys/{body['id']}").status_code == 204
    assert keys.authenticate(body["secret"]) is None


def test_nobody_sees_or_ends_anothers_key_but_an_admin(people: People, as_: As) -> None:
    key, secret = keys.issue(user=people.alice, name="secret project")
    for other in (people.bob, people.charlie):
        caller = as_(other)
        assert "secret project" not in caller("get", "keys").content.decode()
        assert caller("delete", f"keys/{key.pk}").status_code == 404
        assert caller("get", "keys?user=alice").status_code == 403
    assert keys.authenticate(secret) is not None
    root = as_(people.root)
    assert root("get", "keys?user=ALICE").json()["keys"][0]["name"] == "secret project"
    assert as_(people.root, ("infer", "models"))("delete", f"keys/{key.pk}").status_code == 404
    assert root("delete", f"keys/{key.pk}").status_code == 204
    assert keys.authenticate(secret) is None


def test_a_key_mints_nothing_stronger_than_itself(people: People, as_: As) -> None:
    weak = as_(people.root, ("infer",))
    assert weak("post", "keys", {"name": "x", "scopes": ["infer"]}).status_code == 201
    for scopes in (["models"], ["admin"], ["infer", "admin"]):
        reply = weak("post", "keys", {"name": "x", "scopes": scopes})
        assert reply.status_code == 403 and scopes[-1] in reply.json()["error"]
    assert as_(people.alice)("post", "keys", {"name": "x", "scopes": ["admin"]}).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "x",
        {"name": ""},
        {"name": None},
        {"name": "a\0b"},
        {"name": "\ud800"},
        {"name": "x" * 101},
        {"name": {"a": 1}},
        {"name": "x", "scopes": "infer"},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": [1]},
        {"name": "x", "scopes": ["root"]},
        {"name": "x", "scopes": ["infer"] * 1000},
        {"name": "x", "expires_at": "tomorrow"},
        {"name": "x", "expires_at": "2001-01-01T00:00:00Z"},
        {"name": "x", "expires_at": 5},
        {"name": "x", "user": "root"},
    ],
)
def test_nonsense_is_a_400_with_a_sentence(people: People, as_: As, body: Any) -> None:
    reply = as_(people.alice)("post", "keys", body)
    assert reply.status_code == 400
    assert reply.json()["error"]
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("raw", [b"{", b"", b"\xff\xfe", b"[" * 200_000, b'{"name": NaN}'])
def test_a_body_that_is_no_json_is_a_400(people: People, as_: As, raw: bytes) -> None:
    client = as_(people.alice).client
    reply = client.generic("POST", "/api/corral/keys", raw, content_type="application/json")
    assert reply.status_code == 400
    assert client.post("/api/corral/keys", "name=x", content_type="text/plain").status_code == 415


@pytest.mark.parametrize("pk", ["0", "-1", "9" * 18, "9" * 40, "9" * 5000, "x", "1%00"])
def test_an_unknown_key_is_not_found(people: People, as_: As, pk: str) -> None:
    assert as_(people.alice)("delete", f"keys/{pk}").status_code == 404
    assert as_(people.alice)("delete", f"client-keys/{pk}").status_code == 404


def test_a_caller_without_a_key_is_told_how_to_get_one(db: None, as_: As) -> None:
    for path in ("me", "keys", "client-keys", "users", "groups", "audit"):
        reply = as_(None)("get", path)
        assert reply.status_code == 401
        assert "Bearer corral_" in reply.json()["error"]


def test_a_client_is_registered_listed_and_removed_by_its_owner_only(people: People, as_: As) -> None:
    alice, charlie, line = as_(people.alice), as_(people.charlie), pub_line()
    made = alice("post", "client-keys", {"public_key": line})
    assert made.status_code == 201 and made.json()["name"] == "me@there"
    assert charlie("get", "client-keys").json() == {"client_keys": []}
    assert charlie("delete", f"client-keys/{made.json()['id']}").status_code == 404
    assert charlie("post", "client-keys", {"public_key": line}).status_code == 409
    assert alice("get", "client-keys").json()["client_keys"][0]["fingerprint"].startswith("SHA256:")
    assert alice("delete", f"client-keys/{made.json()['id']}").status_code == 204
    assert not ClientKey.objects.exists()


def test_what_may_less_or_expires_cannot_register_a_client(people: People, as_: As) -> None:
    soon = timezone.now() + datetime.timedelta(hours=1)
    for caller in (as_(people.alice, ("infer",)), as_(people.alice, None, expires_at=soon)):
        assert caller("post", "client-keys", {"public_key": pub_line()}).status_code == 403
    assert as_(people.alice)("post", "client-keys", {"public_key": "ssh-rsa AAAA"}).status_code == 400
