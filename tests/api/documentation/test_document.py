"""The OpenAPI document against the routes, against itself, and the page that shows it."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest
from django.contrib.staticfiles import finders
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework import serializers
from rest_framework.views import APIView

from apps.api.corral import groups, keys, people, sharing
from apps.api.documentation import document
from apps.api.documentation.document import OPERATIONS, SCHEMAS
from tests.api.ollama.conftest import Caller
from tests.server import Server

UNDOCUMENTED = {"/api/schema", "/api/docs"}
BODIES = {
    "POST /api/corral/keys": keys.KeyIn,
    "POST /api/corral/client-keys": keys.ClientKeyIn,
    "POST /api/corral/users": people.UserIn,
    "PATCH /api/corral/users/{name}": people.UserChange,
    "POST /api/corral/users/{name}/password": people.PasswordIn,
    "POST /api/corral/groups": groups.GroupIn,
    "PUT /api/corral/groups/{name}/members/{user}": groups.RoleIn,
    "POST /api/corral/grants": sharing.GrantIn,
    "POST /api/corral/publish": sharing.PublishIn,
}
REPLIES = {"User": people.UserOut, "Key": keys.KeyOut, "ClientKey": keys.ClientKeyOut, "Group": groups.GroupOut}


def routes(resolver: URLResolver, prefix: str = "/") -> Iterator[tuple[str, Any]]:
    for pattern in resolver.url_patterns:
        path = prefix + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, path)
        elif isinstance(pattern, URLPattern):
            yield path, getattr(pattern.callback, "view_class", None)


def methods(view: type[APIView]) -> set[str]:
    names = {name for name in view.http_method_names if name != "options" and hasattr(view, name)}
    return {name.upper() for name in names if name != "head" or "get" not in names}


def test_every_method_of_every_view_is_described_and_nothing_else() -> None:
    served = {
        f"{method} {path}"
        for path, view in routes(get_resolver())
        if view is not None and issubclass(view, APIView) and path not in UNDOCUMENTED
        for method in methods(view)
    }
    declared = {address for address in OPERATIONS if not address.endswith(("/healthz", "/readyz"))}
    assert served == declared


@pytest.mark.parametrize("address", sorted(BODIES))
def test_our_own_bodies_are_those_of_the_serializers(address: str) -> None:
    body = OPERATIONS[address].body
    fields = BODIES[address]().fields
    assert body is not None and set(body["properties"]) == set(fields)
    assert set(body.get("required", ())) == {
        name for name, field in fields.items() if field.required and not field.allow_null
    } - ({"active", "admin"} if address.startswith("PATCH") else set())


@pytest.mark.parametrize("name", sorted(REPLIES))
def test_our_own_replies_are_those_of_the_serializers(name: str) -> None:
    serializer: type[serializers.Serializer[Any]] = REPLIES[name]
    assert set(SCHEMAS[name]["properties"]) == set(serializer().fields)


@pytest.mark.parametrize("address", sorted(OPERATIONS))
def test_every_example_and_every_schema_holds(address: str) -> None:
    operation = OPERATIONS[address]
    for shape in [operation.body, *(shape for kinds in operation.replies.values() for shape in kinds.values())]:
        if shape is not None:
            jsonschema.Draft202012Validator.check_schema(shape)
    if operation.example is not None:
        jsonschema.validate(operation.example, {**(operation.body or {}), "components": {"schemas": SCHEMAS}})
    assert set(re.findall(r"\{(\w+)\}", address)) == set(operation.parts)


def test_every_schema_that_is_named_is_there() -> None:
    for shape in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(shape)
    named = set(re.findall(r"'#/components/schemas/(\w+)'", f"{document.paths()} {SCHEMAS}"))
    assert named and named <= set(SCHEMAS)


def test_every_body_of_the_dialects_shows_an_example() -> None:
    without = [address for address, operation in OPERATIONS.items() if operation.body and operation.example is None]
    assert all(address.startswith(("POST /api/corral/", "POST /api/blobs/")) for address in without), without


def test_the_document_is_served_to_all(caller: Caller) -> None:
    reply = caller().get("/api/schema")
    said = reply.json()
    assert (reply.status_code, said["openapi"], said["info"]["title"]) == (200, "3.1.0", "Corral")
    assert {"/api/chat", "/v1/chat/completions", "/v1/messages", "/api/corral/keys"} <= set(said["paths"])
    assert said["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    failures = said["paths"]["/v1/chat/completions"]["post"]["responses"]
    assert failures["400"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/OpenAIError"}


def test_the_page_needs_this_server_only(caller: Caller) -> None:
    page = caller().get("/api/docs", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(sources) >= 4 and all(source.startswith("/") for source in sources)
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "<script>" not in page.text
    for source in sources:
        if source.startswith("/static/"):
            assert finders.find(source.removeprefix("/static/")), source


def test_a_running_server_serves_the_page_with_its_scripts(server: Server) -> None:
    page = server.call("GET", "/api/docs", key="", headers={"Authorization": "", "Sec-Fetch-Site": "none"})
    assert page.status_code == 200, page.text
    for source in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert server.call("GET", source.replace("&amp;", "&")).status_code == 200, source
    assert server.call("GET", "/api/schema").json()["paths"]


def test_the_script_of_the_page_loads_our_document(caller: Caller) -> None:
    script = caller().get("/api/docs?script=")
    assert script.headers["Content-Type"].startswith("application/javascript")
    assert "/api/schema" in script.text and "//cdn" not in script.text


def test_the_document_names_the_errors_of_each_dialect(caller: Caller) -> None:
    reply: httpx.Response = caller().post("/v1/completions", json={})
    error = document.paths()["/v1/completions"]["post"]["responses"][str(reply.status_code)]
    shape = error["content"]["application/json"]["schema"]
    jsonschema.validate(reply.json(), {**shape, "components": {"schemas": SCHEMAS}})
