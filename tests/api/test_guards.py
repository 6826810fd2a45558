"""Host and Origin, by the table of the wire contract (section 22, checks 117 and 118) and the recordings."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from apps.api import guards
from tests import factories

pytestmark = pytest.mark.urls("tests.api.small_urls")
RECORDINGS = Path(__file__).parent.parent / "wire" / "ollama.jsonl"
LOCAL = "127.0.0.1:11434"

ALLOWED_ORIGINS = (
    "http://localhost",
    "https://localhost",
    "http://localhost:3000",
    "https://127.0.0.1:8443",
    "http://127.0.0.1",
    "http://0.0.0.0:5000",
    "app://obsidian.md",
    "file://anything",
    "tauri://localhost",
    "vscode-webview://abc",
    "vscode-file://vscode-app",
)
FOREIGN_ORIGINS = (
    "http://evil.example",
    "https://evil.example",
    "null",
    "http://localhost.evil.example",
    "http://localhost.evil.example:3000",
    "http://127.0.0.1.evil.example",
    "http://xlocalhost",
    "chrome-extension://abc",
    "moz-extension://abc",
    "ftp://localhost",
    "http://[",
    "evil",
)
ALLOWED_HOSTS = (
    "",
    "localhost",
    "LOCALHOST:11434",
    "foo.localhost",
    "foo.local",
    "gpu.internal:11434",
    "127.0.0.1",
    "127.8.8.8:1",
    "[::1]:11434",
    "0.0.0.0:11434",
    "10.1.2.3",
    "172.16.0.9",
    "192.168.1.5:11434",
    "[fd00::1]",
)
FOREIGN_HOSTS = (
    "evil.example",
    "evil.example:11434",
    "local",
    "internal",
    "notlocalhost",
    "foo.local.evil.example",
    "8.8.8.8",
    "172.32.0.1",
    "127.0.0.1.evil.example",
    "127.0.0.1,evil.example",
    "[::1",
    "::1]",
    "evil.example@localhost",
    "a" * 5000,
)


def send(method: str = "GET", path: str = "/api/chat", **headers: str) -> HttpResponse:
    named = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    return Client().generic(method, path, **{"HTTP_HOST": LOCAL, **named})


def recorded(name: str) -> dict[str, Any]:
    rows = (json.loads(line) for line in RECORDINGS.read_text(encoding="utf-8").splitlines())
    return next(row for row in rows if row["name"] == name)


@pytest.mark.parametrize("name", ["cors-preflight", "cors-foreign", "host-foreign", "error-method"])
def test_the_recorded_exchanges_are_answered_alike(name: str) -> None:
    request, expected = recorded(name)["request"], recorded(name)["response"]
    path = "/api/chat" if name == "error-method" else request["path"]
    reply = send(request["method"], path, **request.get("headers", {}))
    assert reply.status_code == expected["status"]
    assert reply.content.decode() == expected["body"]
    for header, value in expected["headers"].items():
        assert reply.headers.get(header) == value, header


@pytest.mark.parametrize("origin", ALLOWED_ORIGINS)
def test_an_allowed_origin_is_echoed(origin: str) -> None:
    reply = send("POST", Origin=origin)
    assert reply.status_code == 200
    assert reply["Access-Control-Allow-Origin"] == origin
    assert "Origin" in reply["Vary"]
    assert "Access-Control-Allow-Credentials" not in reply


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_a_foreign_origin_is_refused_with_nothing_for_any_method(origin: str, method: str) -> None:
    reply = send(method, Origin=origin)
    assert (reply.status_code, reply.content) == (403, b"")
    assert "Access-Control-Allow-Origin" not in reply


@pytest.mark.parametrize("origin", ["", f"http://{LOCAL}", f"https://{LOCAL}"])
def test_without_an_origin_or_from_our_own_there_is_no_cors_header(origin: str) -> None:
    reply = send("POST", **({"Origin": origin} if origin else {}))
    assert reply.status_code == 200
    assert "Access-Control-Allow-Origin" not in reply


def test_errors_for_an_allowed_origin_can_be_read_by_its_page() -> None:
    reply = send("GET", "/api/nothing", Origin="http://localhost:3000")
    assert reply.status_code == 404
    assert reply["Access-Control-Allow-Origin"] == "http://localhost:3000"


def test_configured_origins_are_added(settings: Any) -> None:
    settings.ORIGINS = ["https://chat.example", "https://*.team.example", "moz-extension://*"]
    for origin in ("https://chat.example", "https://a.b.team.example", "moz-extension://abc", "http://localhost"):
        assert send("POST", Origin=origin).status_code == 200
    for origin in ("http://chat.example", "https://team.example", "https://chat.example.evil.example"):
        assert send("POST", Origin=origin).status_code == 403


@pytest.mark.django_db
def test_a_star_lets_every_page_call_with_a_key_but_makes_none_the_local_admin(settings: Any) -> None:
    secret = factories.api_key(factories.admin())
    settings.ORIGINS = ["*"]
    page = {"Origin": "https://any.example", "Sec-Fetch-Site": "cross-site"}
    assert send("GET", "/api/tags", **page).status_code == 401
    reply = send("GET", "/api/tags", Authorization=f"Bearer {secret}", **page)
    assert reply.status_code == 200
    assert reply["Access-Control-Allow-Origin"] == "*"
    preflight = send("OPTIONS", **page)
    assert (preflight.status_code, preflight["Access-Control-Allow-Origin"]) == (204, "*")


@pytest.mark.django_db
def test_a_page_on_localhost_is_the_local_admin_and_may_not_rule() -> None:
    factories.admin()
    page = {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "cross-site"}
    assert send("GET", "/api/tags", **page).status_code == 200
    assert send("GET", "/api/corral/users", **page).status_code == 403
    assert send("GET", "/api/corral/users").status_code == 200


@pytest.mark.parametrize("host", ALLOWED_HOSTS)
def test_a_near_host_passes_on_a_loopback_listener(host: str) -> None:
    assert guards.host_allowed(host)
    assert send("POST", Host=host).status_code == 200


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
@pytest.mark.parametrize("path", ["/api/chat", "/page", "/"])
def test_a_foreign_host_is_refused_on_a_loopback_listener_for_every_path(host: str, path: str) -> None:
    reply = send("GET", path, Host=host)
    assert (reply.status_code, reply.content) == (403, b"")


def test_a_rebound_name_is_refused_though_its_page_is_of_the_same_origin() -> None:
    assert send("POST", Host="evil.example", Origin="http://evil.example").status_code == 403


def test_configured_hosts_are_added_on_loopback_and_are_the_only_ones_elsewhere(settings: Any) -> None:
    settings.HOSTS = ["corral.example", ".team.example"]
    assert guards.host_allowed("corral.example:443") and guards.host_allowed("a.team.example")
    assert guards.host_allowed("localhost") and not guards.host_allowed("evil.example")
    settings.LISTEN = "0.0.0.0:11434"
    assert guards.host_allowed("corral.example") and guards.host_allowed("127.0.0.1:11434")
    assert not guards.host_allowed("evil.example") and not guards.host_allowed("192.168.1.5")


def test_listening_elsewhere_any_host_passes_unless_they_are_listed(settings: Any) -> None:
    settings.LISTEN = "0.0.0.0:11434"
    assert send("POST", Host="gpu.example").status_code == 200


def test_options_without_an_origin_is_answered_for_names_only() -> None:
    assert send("OPTIONS", Host="localhost").status_code == 204
    assert send("OPTIONS", Host="foo.local").status_code == 204


def test_pages_are_left_to_csrf() -> None:
    assert send("GET", "/page", Origin="http://evil.example").status_code == 200
    assert send("GET", "/", Origin="http://evil.example").status_code == 403
    assert send("GET", "/apiary", Origin="http://evil.example").status_code == 404


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("", LOCAL, True),
        (f"http://{LOCAL}", LOCAL, True),
        ("http://localhost:3000", LOCAL, True),
        ("http://evil.example", LOCAL, False),
        ("null", LOCAL, False),
        ("://", "", False),
        ("http://", "", False),
    ],
)
def test_the_websockets_ask_the_same_question(origin: str, host: str, allowed: bool) -> None:
    assert guards.origin_allowed(origin, host) is allowed


def test_a_preflight_of_anthropic_s_client_may_send_its_headers() -> None:
    reply = send("OPTIONS", "/v1/messages", Origin="http://localhost:3000")
    assert "X-Api-Key" in reply["Access-Control-Allow-Headers"]
