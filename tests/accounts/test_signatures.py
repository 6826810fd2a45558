"""Signed requests as `OLLAMA_AUTH=1` makes them, with real keys."""

import base64
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.test import AsyncRequestFactory, RequestFactory

from apps.accounts import client_keys, signatures
from apps.accounts.models import ClientKey, User
from apps.audit.models import Entry
from apps.errors import Problem

PATH = "/api/tags"
# Recorded from a real client (throw-away key).
RECORDED_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIEPVqU5RevQRPSU+2QFyWTQx87EO05trV8+1Nh8vplVS"
RECORDED_SIGNATURE = "tzGZGrwrEMvbxTR28F1SHZr9pVMmTeG3KVBe7YmvB1aE2V1M3A8Dmppp1bpxRKF87ibgmd6NTQShR3hJbMt1AA=="
RECORDED_AT = 1795378870


class Client:
    """The stock client's half: key file, timestamp, header."""

    def __init__(self) -> None:
        self.private = Ed25519PrivateKey.generate()
        self.line = (
            self.private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + " alice@mac"
        )
        self.encoded = self.line.split(" ")[1]

    def credential(self, method: str, path: str, ts: int) -> str:
        signature = self.private.sign(f"{method},{path}?ts={ts}".encode())
        return f"{self.encoded}:{base64.b64encode(signature).decode()}"

    def request(self, method: str = "GET", path: str = PATH, *, age: int = 0) -> tuple[HttpRequest, str]:
        ts = int(time.time()) - age
        request = RequestFactory().generic(method, path, query_params={"ts": str(ts)})
        return request, self.credential(method, path, ts)


@pytest.fixture
def client(alice: User) -> Client:
    made = Client()
    client_keys.add(user=alice, line=made.line, actor=alice)
    return made


def refusal(request: HttpRequest, credential: str) -> str:
    with pytest.raises(Problem) as caught:
        signatures.verify(request, credential)
    assert caught.value.status == 401
    return caught.value.message


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", PATH), ("HEAD", "/"), ("POST", "/api/blobs/sha256:" + "a" * 64), ("DELETE", "/api/delete")],
)
def test_a_signed_request_is_its_users(client: Client, alice: User, method: str, path: str) -> None:
    request, credential = client.request(method, path)
    assert signatures.looks_signed(credential)
    assert signatures.verify(request, credential).user == alice
    assert ClientKey.objects.get().last_used_at is not None


def test_the_recorded_exchange_of_a_real_client_is_accepted(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: RECORDED_AT + 10)
    client_keys.add(user=alice, line=f"ssh-ed25519 {RECORDED_KEY}")
    request = RequestFactory().get(f"{PATH}?ts={RECORDED_AT}")
    assert signatures.verify(request, f"{RECORDED_KEY}:{RECORDED_SIGNATURE}").user == alice


def test_path_and_query_count_as_they_came_over_the_wire(client: Client) -> None:
    ts = int(time.time())
    made = AsyncRequestFactory().get("/api/x")
    scope = {**made.scope, "path": "/api/a b", "raw_path": b"/api/a%20b", "query_string": f"ts={ts}".encode()}
    request = ASGIRequest(scope, None)
    assert signatures.target(request) == f"/api/a%20b?ts={ts}"
    assert signatures.verify(request, client.credential("GET", "/api/a%20b", ts))


@pytest.mark.parametrize("age", [301, -301, 86400])
def test_a_request_signed_outside_five_minutes_is_refused(client: Client, age: int) -> None:
    assert "clock" in refusal(*client.request(age=age))


def test_a_request_signed_four_minutes_ago_is_accepted(client: Client) -> None:
    assert signatures.verify(*client.request(age=240))


def test_another_method_path_or_time_does_not_fit(client: Client) -> None:
    _, credential = client.request()
    now = int(time.time())
    for other in (
        RequestFactory().delete(f"{PATH}?ts={now}"),
        RequestFactory().get(f"/api/show?ts={now}"),
        RequestFactory().get(f"{PATH}?ts={now - 1}"),
        RequestFactory().get(f"{PATH}?ts={now}&x=1"),
    ):
        assert "does not fit" in refusal(other, credential)


def test_another_key_cannot_speak_for_a_registered_one(client: Client) -> None:
    request, credential = Client().request()
    signature = credential.split(":")[1]
    assert "does not fit" in refusal(request, f"{client.encoded}:{signature}")


def test_an_unregistered_key_is_told_its_fingerprint_and_where_to_register(client: Client) -> None:
    stranger = Client()
    message = refusal(*stranger.request())
    assert client_keys.fingerprint(stranger.encoded) in message and "add_client_key" in message


def test_a_disabled_users_client_is_refused(client: Client) -> None:
    User.objects.update(is_active=False)
    assert "disabled" in refusal(*client.request())


@pytest.mark.parametrize("query", ["", "?ts=", "?ts=1e9", "?ts=-1", "?ts=1&ts=2", "?ts=" + "9" * 400, "?ts=%00"])
def test_a_request_without_one_readable_time_is_refused(client: Client, query: str) -> None:
    _, credential = client.request()
    assert "?ts=" in refusal(RequestFactory().get(PATH + query), credential)


@pytest.mark.parametrize(
    "credential", ["", "a:b", "Bearer x:y", "é" * 68 + ":" + "A" * 86 + "==", "A" * 68 + ":" + "A" * 88]
)
def test_what_is_no_signature_is_not_taken_for_one(credential: str) -> None:
    assert not signatures.looks_signed(credential)


def _ec_line() -> str:
    public = generate_private_key(SECP256R1()).public_key()
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 !!!!",
        "ssh-ed25519 AAAA",
        f"ssh-rsa {RECORDED_KEY}",
        f"ssh-ed25519 {RECORDED_KEY[:-4]}",
        f"ssh-ed25519 {RECORDED_KEY}AAAA",
        f"ssh-ed25519 {RECORDED_KEY} a\nssh-ed25519 {RECORDED_KEY}",
        f"ssh-ed25519 {RECORDED_KEY} \0",
        f"ssh-ed25519 {RECORDED_KEY} " + "x" * 2000,
        "ssh-ed25519 é",
        _ec_line(),
        _ec_line().replace("ecdsa-sha2-nistp256", "ssh-ed25519"),
    ],
)
def test_only_one_clean_line_with_an_ed25519_key_is_registered(alice: User, line: str) -> None:
    with pytest.raises(Problem) as caught:
        client_keys.add(user=alice, line=line)
    assert caught.value.status == 400
    assert not ClientKey.objects.exists()


def test_a_key_belongs_to_one_user(client: Client, bob: User) -> None:
    with pytest.raises(Problem) as caught:
        client_keys.add(user=bob, line=client.line.replace("alice@mac", "mine now"))
    assert caught.value.status == 409
    assert ClientKey.objects.get().user.username == "alice"


def test_adding_and_removing_a_client_is_recorded_and_ends_its_access(client: Client, alice: User) -> None:
    key = ClientKey.objects.get()
    assert key.name == "alice@mac" and key.fingerprint.startswith("SHA256:")
    client_keys.remove(key, actor=alice)
    assert "not registered" in refusal(*client.request())
    assert list(Entry.objects.order_by("id").values_list("action", flat=True)) == [
        "client_key.add",
        "client_key.remove",
    ]
