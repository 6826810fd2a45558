import hashlib
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.accounts import access as accesses
from apps.accounts import keys
from apps.accounts.models import ApiKey, User
from apps.audit.models import Entry
from apps.errors import Problem
from tests import factories


def test_a_key_opens_the_door_of_its_user(alice: User) -> None:
    key, secret = keys.issue(user=alice, name="laptop")
    found = keys.authenticate(secret)
    assert found == key
    assert found is not None and found.user == alice
    assert accesses.by_key(found).scopes == {"infer", "models"}


def test_the_secret_is_kept_as_a_hash_only(alice: User) -> None:
    key, secret = keys.issue(user=alice, name="laptop")
    kind, prefix, rest = secret.split("_", 2)
    assert (kind, prefix, len(prefix), len(rest)) == ("corral", key.prefix, 8, 43)
    assert key.digest == hashlib.sha256(secret.encode()).hexdigest()
    assert rest not in str(ApiKey.objects.values().get()) + str(list(Entry.objects.values()))


def test_two_keys_of_a_thousand_never_share_a_secret(alice: User) -> None:
    secrets = {keys.issue(user=alice, name="n")[1] for _ in range(50)}
    assert len(secrets) == 50


def test_a_key_that_expired_is_refused(alice: User) -> None:
    key, secret = keys.issue(user=alice, name="k", expires_at=timezone.now() + timedelta(hours=1))
    assert keys.authenticate(secret) is not None
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert keys.authenticate(secret) is None


def test_a_revoked_key_is_refused_and_revoking_twice_is_recorded_once(alice: User) -> None:
    key, secret = keys.issue(user=alice, name="k")
    keys.revoke(key, actor=alice)
    first = ApiKey.objects.get().revoked_at
    keys.revoke(key, actor=alice)
    assert keys.authenticate(secret) is None
    assert ApiKey.objects.get().revoked_at == first
    assert Entry.objects.filter(action="key.revoke", actor_id=alice.pk).count() == 1


def test_a_disabled_users_key_is_refused(alice: User) -> None:
    secret = factories.api_key(alice)
    User.objects.update(is_active=False)
    assert keys.authenticate(secret) is None


def test_the_right_prefix_with_another_secret_is_refused(alice: User) -> None:
    secret = factories.api_key(alice)
    other = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    assert keys.authenticate(other) is None


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "corral_",
        "x" * 100_000,
        "corral_abcdefgh_" + "é" * 43,
        "corral_abcd\0fgh_" + "x" * 43,
        "corral_' OR 1=1",
        "ollama",
    ],
)
def test_a_hostile_secret_is_refused_without_a_query(db: None, secret: str) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert keys.authenticate(secret) is None
    assert len(queries) == 0


def test_authentication_costs_no_query_but_the_compiled_one_and_notes_its_use_once_a_minute(alice: User) -> None:
    secret = factories.api_key(alice)
    assert keys.authenticate(secret)
    used = ApiKey.objects.get().last_used_at
    assert used is not None
    with CaptureQueriesContext(connection) as others:
        key = keys.authenticate(secret)
        assert key is not None and key.user.username == "alice"
    assert len(others) == 0
    assert ApiKey.objects.get().last_used_at == used
    ApiKey.objects.update(last_used_at=used - timedelta(seconds=61))
    keys.authenticate(secret)
    again = ApiKey.objects.get().last_used_at
    assert again is not None and again >= used


@pytest.mark.parametrize("scopes", [[], ["root"], ["infer", ""]])
def test_only_known_scopes_are_given(alice: User, scopes: list[str]) -> None:
    with pytest.raises(Problem, match="scopes must be"):
        keys.issue(user=alice, name="k", scopes=scopes)
    with pytest.raises(IntegrityError), transaction.atomic():
        ApiKey.objects.create(user=alice, name="k", prefix="p", digest="d", scopes=scopes)


def test_only_an_admins_key_has_the_admin_scope_and_loses_it_with_the_office(alice: User, root: User) -> None:
    with pytest.raises(Problem) as caught:
        keys.issue(user=alice, name="k", scopes=["admin"])
    assert caught.value.status == 403
    key, _ = keys.issue(user=root, name="k", scopes=["infer", "admin"])
    assert accesses.by_key(key).is_admin
    root.is_superuser = False
    assert accesses.by_key(ApiKey(user=root, scopes=key.scopes)).scopes == {"infer"}


def test_a_key_cannot_make_a_stronger_one(root: User) -> None:
    weak = accesses.by_key(keys.issue(user=root, name="weak", scopes=["infer"])[0])
    made, _ = keys.issue_through(access=weak, name="child", scopes=["infer"])
    assert made.scopes == ["infer"]
    for scope in ("models", "admin"):
        with pytest.raises(Problem, match=f"'{scope}'") as caught:
            keys.issue_through(access=weak, name="child", scopes=["infer", scope])
        assert caught.value.status == 403


def test_a_key_cannot_make_one_that_outlives_it(alice: User) -> None:
    soon = timezone.now() + timedelta(hours=1)
    access = accesses.by_key(keys.issue(user=alice, name="short", expires_at=soon)[0])
    for expires_at in (None, soon + timedelta(seconds=1)):
        with pytest.raises(Problem, match="no later"):
            keys.issue_through(access=access, name="long", scopes=["infer"], expires_at=expires_at)
    keys.issue_through(access=access, name="as long", scopes=["infer"], expires_at=soon)


def test_a_weak_key_cannot_take_a_stronger_one_away(root: User) -> None:
    strong, secret = keys.issue(user=root, name="strong", scopes=["infer", "admin"])
    weak, weak_secret = keys.issue(user=root, name="weak", scopes=["infer"])
    with pytest.raises(Problem, match="'admin'"):
        keys.revoke_through(strong, access=accesses.by_key(weak))
    assert keys.authenticate(secret) is not None
    keys.revoke_through(weak, access=accesses.by_key(weak))
    assert keys.authenticate(weak_secret) is None
