"""One endpoint as it is declared, and as OpenAPI writes it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from apps.api.documentation.shapes import Shape, ref, text, whole

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
EVENTS: Final = "text/event-stream"
PLAIN: Final = "text/plain"

MEANINGS: Final = {
    200: "Done.", 201: "Made.", 204: "Done; there is nothing to say.", 301: "Moved.",
    400: "The request is wrong.", 401: "A key is missing or not valid.", 403: "This caller may not do that.",
    404: "There is no such thing that this caller may see.", 409: "It conflicts with what is there.",
    413: "The body is too large.", 415: "This encoding is not read.", 429: "Too much for now; see Retry-After.",
    499: "The request was cancelled.", 500: "Something broke, or an option is unreadable (as Ollama tells it).",
    501: "This server does not serve that.", 503: "Busy, starting or without a database; see Retry-After.",
    507: "The disk is full.",
}  # fmt: skip
STREAMED: Final = "A stream has begun with status 200: what goes wrong later is its last line or event."


@dataclass(frozen=True)
class Operation:
    """`replies` and `body` are schemas by status and content type. `parts` describes path parameters by name.

    `error` is the envelope of its dialect. `open_` needs no key. `example` is one body that works.
    """

    summary: str
    tag: str
    description: str = ""
    body: Shape | None = None
    body_type: str = JSON
    example: Any = None
    replies: Mapping[int, Mapping[str, Shape]] = field(default_factory=dict)
    errors: tuple[int, ...] = ()
    error: str = "Error"
    parts: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Shape] = field(default_factory=dict)
    open_: bool = False

    def as_openapi(self, method: str, path: str) -> dict[str, Any]:
        operation: dict[str, Any] = {
            "operationId": _identifier(method, path),
            "tags": [self.tag],
            "summary": self.summary,
            "security": [] if self.open_ else [{"key": []}, {"header": []}, {}],
            "responses": self._responses(),
        }
        if self.description:
            operation["description"] = self.description
        if parameters := self._parameters():
            operation["parameters"] = parameters
        if self.body is not None:
            content = {"schema": self.body, **({"example": self.example} if self.example is not None else {})}
            operation["requestBody"] = {"required": True, "content": {self.body_type: content}}
        return operation

    def _responses(self) -> dict[str, Any]:
        good = {
            str(status): {"description": MEANINGS[status], **_content(kinds)} for status, kinds in self.replies.items()
        }
        shared = () if self.open_ else (401, 403)
        bad = {
            str(status): {"description": MEANINGS[status], **_content({JSON: ref(self.error)})}
            for status in sorted({*shared, *self.errors})
        }
        return good | bad

    def _parameters(self) -> list[dict[str, Any]]:
        parts = [
            {"name": name, "in": "path", "required": True, "description": about, "schema": _part(name)}
            for name, about in self.parts.items()
        ]
        return parts + [{"name": name, "in": "query", "schema": shape} for name, shape in self.query.items()]


def _part(name: str) -> Shape:
    if name == "pk":
        return whole(minimum=1)
    return text(format="uuid") if name.endswith("_id") else text(minLength=1)


def _content(kinds: Mapping[str, Shape]) -> dict[str, Any]:
    return {"content": {kind: {"schema": shape} for kind, shape in kinds.items()}} if kinds else {}


def _identifier(method: str, path: str) -> str:
    letters = "".join(char if char.isalnum() else "_" for char in path)
    return "_".join(filter(None, [method.lower(), *letters.split("_")]))
