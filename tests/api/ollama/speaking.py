"""How the tests talk to a running server: lines of a stream, and short prompts that end soon."""

import json
from datetime import datetime, timedelta
from typing import Any

import httpx

from tests.api.ollama.conftest import MODEL

GREEDY = {"temperature": 0, "seed": 1, "num_predict": 12}
QUESTION = "Count from 1 to 5, separated by spaces."


def lines(client: httpx.Client, path: str, body: dict[str, Any], **kw: Any) -> list[dict[str, Any]]:
    """All lines of a streamed reply; its status and content type are asserted."""
    reply = client.post(path, json=body, **kw)
    assert reply.status_code == 200, reply.text
    assert reply.headers["Content-Type"] == "application/x-ndjson"
    assert reply.text.endswith("\n")
    return [json.loads(line) for line in reply.text.splitlines()]


def generate(**fields: Any) -> dict[str, Any]:
    options = {**GREEDY, **fields.pop("options", {})}
    return {"model": MODEL, "prompt": QUESTION, "options": options, **fields}


def chat(**fields: Any) -> dict[str, Any]:
    options = {**GREEDY, **fields.pop("options", {})}
    messages = [{"role": "user", "content": QUESTION}]
    return {"model": MODEL, "messages": messages, "options": options, **fields}


def answer(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """A reply in one piece."""
    reply = client.post(path, json={**body, "stream": False})
    assert reply.status_code == 200, reply.text
    said: dict[str, Any] = reply.json()
    return said


def loaded(client: httpx.Client, name: str = MODEL) -> list[dict[str, Any]]:
    return [row for row in client.get("/api/ps").json()["models"] if row["name"] == name]


def from_now(text: str) -> timedelta:
    when = datetime.fromisoformat(text)
    return when - datetime.now(when.tzinfo)
