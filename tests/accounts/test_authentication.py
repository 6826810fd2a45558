"""The one authentication class: which credential wins, and when a caller without one is the local admin."""

import base64
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.contrib.auth import authenticate
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.http import HttpRequest
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from rest_framework.request import Request

from apps.accounts import client_keys, loopback
from apps.accounts.access import Access
from apps.accounts.authentication import Caller
from apps.accounts.models import User
from apps.errors import Problem
from tests import factories

LOCAL = {"HTTP_HOST": "127.0.0.1:11434", "REMOTE_ADDR": "127.0.0.1"}
REMOTE = {"HTTP_HOST": "corral.example", "REMOTE_ADDR": "203.0.113.9"}


def call(request: HttpRequest) -> Access | None:
    found = Caller().authenticate(Request(request))
    return found[1] if found else None


def get(path: str = "/api/tags", **meta: Any) -> HttpRequest:
    return RequestFactory().get(path, **meta)


def refusal(request: HttpRequest) -> str:
    with pytest.raises(Problem) as caught:
        call(request)
    assert caught.value.status == 401
    assert "Authorization: Bearer" in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    "header", [{"HTTP_AUTHORIZATION": "Bearer {}"}, {"HTTP_AUTHORIZATION": "bearer  {} "}, {"HTTP_X_API_KEY": "{}"}]
)
def test_a_key_is_its_user_wherever_it_is_sent(alice: User, header: dict[str, str]) -> None:
    secret = factories.api_key(alice)
    access = call(get(**{name: value.format(secret) for name, value in header.items()}, **REMOTE))
    assert access is not None
    assert (access.user, access.how, access.scopes) == (alice, "key", {"infer", "models"})
    assert access.key_id == alice.api_keys.get().pk


def test_a_key_costs_one_query_that_is_compiled_once(alice: User) -> None:
    secret = factories.api_key(alice)
    call(get(HTTP_AUTHORIZATION=f"Bearer {secret}"))
    with CaptureQueriesContext(connection) as others:
        access = call(get(HTTP_AUTHORIZATION=f"Bearer {secret}"))
        assert access is not None and access.user.is_active
    assert len(others) == 0, "besides the compiled one, which Django does not see"


@pytest.mark.parametrize(
    "credential",
    ["Bearer corral_nonsense", "Bearer Corral", "Basic YTpi", "x" * 10_000, "a:b", "Digest x"],
)
def test_a_wrong_credential_is_refused_even_on_loopback(root: User, credential: str) -> None:
    assert call(get(**LOCAL)) is not None
    refusal(get(HTTP_AUTHORIZATION=credential, **LOCAL))


def test_a_wrong_x_api_key_is_refused_even_on_loopback(root: User) -> None:
    refusal(get(HTTP_X_API_KEY="corral_wrong", **LOCAL))


@pytest.mark.parametrize("word", ["ollama", "sk-anything", "", "\x00"])
def test_a_word_that_is_no_key_of_ours_is_none_on_loopback_and_refused_elsewhere(root: User, word: str) -> None:
    """Clients that insist on a key are told to send any word to a local server."""
    access = call(get(HTTP_AUTHORIZATION=f"Bearer {word}", **LOCAL))
    assert access is not None and (access.user, access.how) == (root, "loopback")
    refusal(get(HTTP_AUTHORIZATION=f"Bearer {word}", **REMOTE))
    refusal(get(HTTP_AUTHORIZATION=f"Bearer {word}", **LOCAL, HTTP_X_FORWARDED_FOR="1.2.3.4"))


def test_a_signed_request_has_no_admin_scope_even_for_an_admin(root: User) -> None:
    private, ts = Ed25519PrivateKey.generate(), int(time.time())
    encoded = client_keys.encode(private.public_key())
    client_keys.add(user=root, line=f"ssh-ed25519 {encoded}")
    signature = base64.b64encode(private.sign(f"GET,/api/tags?ts={ts}".encode())).decode()
    access = call(get(f"/api/tags?ts={ts}", HTTP_AUTHORIZATION=f"{encoded}:{signature}", **REMOTE))
    assert access is not None
    assert (access.user, access.how, access.scopes) == (root, "signature", {"infer", "models"})


def test_nobody_is_nobody(db: None) -> None:
    assert call(get(**REMOTE)) is None


def test_the_local_admin_is_the_oldest_active_admin(alice: User, root: User) -> None:
    younger = factories.admin("younger")
    access = call(get(**LOCAL))
    assert access is not None
    assert (access.user, access.how, access.scopes) == (root, "loopback", {"infer", "models", "admin"})
    User.objects.filter(pk=root.pk).update(is_active=False)
    access = call(get(**LOCAL))
    assert access is not None and access.user == younger
    User.objects.filter(is_superuser=True).update(is_active=False)
    assert call(get(**LOCAL)) is None


def test_the_local_admin_costs_one_query_and_a_foreign_caller_none(root: User) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert call(get(**LOCAL))
    assert len(queries) == 1
    with CaptureQueriesContext(connection) as queries:
        assert call(get(**REMOTE)) is None
    assert len(queries) == 0


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:11434", "LOCALHOST", "app.localhost", "127.9.9.9:80", "[::1]:11434"]
)
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_every_loopback_spelling_is_local(root: User, host: str, address: str) -> None:
    assert call(get(HTTP_HOST=host, REMOTE_ADDR=address)) is not None


@pytest.mark.parametrize(
    "foreign",
    [
        {"REMOTE_ADDR": "192.168.1.5"},
        {"REMOTE_ADDR": ""},
        {"HTTP_HOST": "corral.example"},
        {"HTTP_HOST": "foo.local"},
        {"HTTP_HOST": "192.168.1.5"},
        {"HTTP_HOST": "0.0.0.0:11434"},
        {"HTTP_HOST": ""},
        {"HTTP_HOST": "127.0.0.1.evil.example"},
        {"HTTP_HOST": "127.0.0.1,evil.example"},
        {"HTTP_HOST": "[::1"},
        {"HTTP_FORWARDED": "for=203.0.113.9"},
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"HTTP_X_FORWARDED_PROTO": "https"},
        {"HTTP_X_FORWARDED_HOST": "corral.example"},
        {"HTTP_X_REAL_IP": "127.0.0.1"},
        {"HTTP_VIA": "1.1 proxy"},
        {"HTTP_ORIGIN": "http://evil.example"},
        {"HTTP_ORIGIN": "null"},
        {"HTTP_ORIGIN": "http://localhost:3000"},
        {"HTTP_SEC_FETCH_SITE": "cross-site"},
    ],
)
def test_whatever_suggests_another_place_is_not_the_local_admin(root: User, foreign: dict[str, str]) -> None:
    assert call(get(**{**LOCAL, **foreign})) is None


@pytest.mark.parametrize("near", [{"HTTP_ORIGIN": "http://127.0.0.1:11434"}, {"HTTP_SEC_FETCH_SITE": "same-origin"}])
def test_our_own_page_is_the_local_admin(root: User, near: dict[str, str]) -> None:
    access = call(get(**LOCAL, **near))
    assert access is not None and access.is_admin


def test_a_trusted_page_of_another_origin_may_use_models_but_not_rule(root: User) -> None:
    page = {"HTTP_ORIGIN": "http://localhost:3000", "HTTP_SEC_FETCH_SITE": "cross-site", loopback.TRUSTED_ORIGIN: "1"}
    access = call(get(**LOCAL, **page))
    assert access is not None
    assert (access.user, access.scopes) == (root, {"infer", "models"})
    assert not access.is_admin


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:11434", "0.0.0.0", "192.168.1.5:11434", "[::]:11434", "http://gpu.example:80"]
)
def test_bound_elsewhere_there_is_no_local_admin(root: User, settings: Any, listen: str) -> None:
    settings.LISTEN = listen
    assert call(get(**LOCAL)) is None


@pytest.mark.parametrize("listen", ["127.0.0.1", "localhost:1", ":11434", "http://127.0.0.1:80/", "[::1]:11434", "::1"])
def test_bound_to_loopback_in_any_spelling_there_is(root: User, settings: Any, listen: str) -> None:
    settings.LISTEN = listen
    assert call(get(**LOCAL)) is not None


def test_the_setting_turns_the_local_admin_off(root: User, settings: Any) -> None:
    settings.LOOPBACK_ADMIN = False
    assert call(get(**LOCAL)) is None


def with_session(request: HttpRequest, user: User | AnonymousUser) -> HttpRequest:
    request.user = user
    return request


def test_a_session_has_all_its_users_scopes(alice: User, root: User) -> None:
    access = call(with_session(get(**REMOTE), alice))
    assert access is not None and (access.how, access.scopes) == ("session", {"infer", "models"})
    access = call(with_session(get(**LOCAL), alice))
    assert access is not None and access.user == alice
    access = call(with_session(get(**REMOTE), root))
    assert access is not None and access.is_admin
    assert call(with_session(get(**REMOTE), AnonymousUser())) is None


def test_a_session_that_changes_something_needs_the_csrf_token(alice: User, root: User) -> None:
    token = "a" * 32
    for meta in (LOCAL, REMOTE):
        bare = with_session(RequestFactory().post("/api/show", **meta), alice)
        with pytest.raises(Problem, match="CSRF") as caught:
            call(bare)
        assert caught.value.status == 403
    signed = with_session(RequestFactory().post("/api/show", {"a": "b"}, HTTP_X_CSRFTOKEN=token, **REMOTE), alice)
    signed.COOKIES["csrftoken"] = token
    access = call(signed)
    assert access is not None and access.user == alice
    assert b'name="a"' in signed.body, "the body is still there for the view to read"


def test_a_key_beside_a_session_counts_and_needs_no_csrf_token(alice: User, bob: User) -> None:
    secret = factories.api_key(bob)
    request = RequestFactory().post("/api/show", HTTP_AUTHORIZATION=f"Bearer {secret}", **REMOTE)
    access = call(with_session(request, alice))
    assert access is not None and access.user == bob


def test_signing_in_ignores_the_case_of_the_name_but_not_of_the_password(alice: User) -> None:
    assert authenticate(username="ALICE", password=factories.PASSWORD) == alice
    assert authenticate(username="alice", password=factories.PASSWORD.upper()) is None


@pytest.mark.parametrize("name", ["", "a\0", "x" * 5000, "alice'--", "\u212a"])
def test_a_hostile_name_cannot_sign_in(alice: User, name: str) -> None:
    assert authenticate(username=name, password=factories.PASSWORD) is None
