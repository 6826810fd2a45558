"""`manage.py` for people and keys."""

import io
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command

from apps.accounts import client_keys, keys
from apps.accounts.models import ApiKey, ClientKey, User
from tests import factories

pytestmark = pytest.mark.django_db


def run(*args: Any, **options: Any) -> str:
    out = io.StringIO()
    call_command(*args, stdout=out, **options)
    return out.getvalue()


def printed(text: str, field: str) -> str:
    return next(line.split()[1] for line in text.splitlines() if line.startswith(field))


def test_create_admin_prints_a_password_that_works() -> None:
    text = run("create_admin", "boss")
    boss = User.objects.named("boss")
    assert boss.is_admin and boss.check_password(printed(text, "password"))


def test_a_password_from_standard_input_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("from a pipe, long\n"))
    assert "password" not in run("create_admin", "boss", "--password-stdin")
    assert User.objects.named("boss").check_password("from a pipe, long")


def test_reset_password_prints_a_new_one() -> None:
    factories.user("alice")
    password = printed(run("reset_password", "ALICE"), "password")
    assert User.objects.named("alice").check_password(password)


def test_recover_admin_brings_back_a_disabled_one() -> None:
    factories.admin("admin")
    User.objects.update(is_active=False)
    password = printed(run("recover_admin"), "password")
    admin = User.objects.named("admin")
    assert admin.is_admin and admin.check_password(password)


def test_a_key_is_created_listed_and_revoked() -> None:
    factories.admin("root")
    secret = run("create_key", "root", "ci", "--scopes", "infer,admin", "--days", "3").strip()
    key = keys.authenticate(secret)
    assert key is not None and sorted(key.scopes) == ["admin", "infer"] and key.expires_at is not None
    listed = run("list_keys", "root")
    assert key.prefix in listed and "until" in listed and secret not in listed
    run("revoke_key", f"corral_{key.prefix}")
    assert keys.authenticate(secret) is None
    assert "revoked" in run("list_keys")
    other = run("create_key", "root", "other").strip()
    run("revoke_key", other)
    assert ApiKey.objects.filter(revoked_at=None).count() == 0


def test_a_client_key_is_added_from_its_file(tmp_path: Path) -> None:
    factories.user("alice")
    encoded = client_keys.encode(Ed25519PrivateKey.generate().public_key())
    file = tmp_path / "id_ed25519.pub"
    file.write_text(f"ssh-ed25519 {encoded}\n")
    assert client_keys.fingerprint(encoded) in run("add_client_key", "alice", str(file), "--name", "laptop")
    assert ClientKey.objects.get().name == "laptop"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["create_admin", "a b"], "a name has"),
        (["create_admin", "alice"], "is taken"),
        (["reset_password", "nobody"], "not found"),
        (["create_key", "nobody", "k"], "not found"),
        (["create_key", "alice", "k", "--scopes", "root"], "scopes must be"),
        (["create_key", "alice", "k", "--scopes", "admin"], "only an admin"),
        (["create_key", "alice", "k", "--days", "0"], "--days"),
        (["revoke_key", "nonsense"], "no such key"),
        (["list_keys", "nobody"], "not found"),
        (["add_client_key", "alice", "/nonexistent"], "cannot read"),
    ],
)
def test_what_goes_wrong_is_one_sentence(args: list[str], message: str) -> None:
    factories.user("alice")
    with pytest.raises(CommandError, match=message):
        run(*args)
