"""The whole OpenAPI document, made of the dialects' declarations."""

from typing import Any

from drf_spectacular.generators import SchemaGenerator
from rest_framework.request import Request

from apps.api.documentation import anthropic, corral, native, openai
from apps.api.documentation.operations import JSON, Operation
from apps.api.documentation.shapes import a_list, record, text

DIALECTS = (native, openai, anthropic, corral)
_status = record("status", status=text())
_unready = record("status missing", status=text(), missing=a_list(text()))
HEALTH = {
    "GET /healthz": Operation(
        "Whether the web process lives", native.SERVER, replies={200: {JSON: _status}}, open_=True
    ),
    "GET /readyz": Operation(
        "Whether all parts are there", native.SERVER, replies={200: {JSON: _status}, 503: {JSON: _unready}}, open_=True
    ),
}
OPERATIONS: dict[str, Operation] = HEALTH | {
    address: operation for dialect in DIALECTS for address, operation in dialect.OPERATIONS.items()
}
SCHEMAS: dict[str, Any] = {name: shape for dialect in DIALECTS for name, shape in dialect.SCHEMAS.items()}
SECURITY = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer corral_…`."},
    "header": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "The same, as Anthropic's clients do.",
    },
}


def paths() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for address, operation in OPERATIONS.items():
        method, path = address.split(" ")
        found.setdefault(path, {})[method.lower()] = operation.as_openapi(method, path)
    return found


class Generator(SchemaGenerator):
    """drf-spectacular's, with declarations in the place of what it would guess from views."""

    def parse(self, input_request: Request | None, public: bool) -> dict[str, dict[str, Any]]:
        return paths()

    def get_schema(self, request: Request | None = None, public: bool = False) -> dict[str, Any]:
        document: dict[str, Any] = super().get_schema(request=request, public=public)  # type: ignore[no-untyped-call]
        document["components"] = {"schemas": SCHEMAS, "securitySchemes": SECURITY}
        return document
