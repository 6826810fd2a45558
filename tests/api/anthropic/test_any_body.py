"""A property of this dialect: whatever the body is, it is answered, and never with a 500."""

import json
from collections import Counter
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from apps.accounts.models import User
from apps.inference.models import Run
from tests.api.anthropic.conftest import MakeModel
from tests.api.ollama.recordings import PICTURE
from tests.api.ollama.test_any_body import answering, anything, some, some_of

pytestmark = pytest.mark.django_db(transaction=True)

MODELS = [*["every"] * 12, "plain", "seer", "think", "emb", "nope", "", "a b", "PLAIN", "plain:cloud", "\ud800"]

texts = st.text(max_size=8)
flags = st.booleans()
schema = some_of(type=texts, properties=st.dictionaries(texts, anything, max_size=2), required=st.lists(texts))
texts_of = st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": texts}), max_size=2)


def block(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({"type": st.just(kind), **{name: some(value) for name, value in fields.items()}})


picture = st.fixed_dictionaries(
    {"type": st.just("base64"), "data": st.sampled_from([PICTURE, PICTURE, PICTURE, "", "aGk=", "%"])}
)
blocks = st.one_of(
    block("text", text=texts),
    block("thinking", thinking=texts, signature=texts),
    block("redacted_thinking", data=texts),
    block("tool_use", id=st.sampled_from("abc"), name=st.sampled_from("fg"), input=st.dictionaries(texts, anything)),
    block("tool_result", tool_use_id=st.sampled_from("abc"), content=texts | texts_of, is_error=flags),
    block("image", source=picture),
    block("document", title=texts, source=st.fixed_dictionaries({"type": st.just("text"), "data": texts})),
    block("search_result", title=texts, source=texts, content=texts_of),
    block("something_new", data=texts),
)
message = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant", "system"]),
        "content": some(texts | st.lists(blocks, max_size=3)),
    }
)
tool = st.fixed_dictionaries(
    {"name": st.sampled_from(["f", "g", "auto"])},
    optional={"type": some(st.just("custom")), "description": some(texts), "input_schema": some(schema)},
)
choice = st.fixed_dictionaries(
    {"type": st.sampled_from(["auto", "any", "tool", "none"]), "name": st.sampled_from(["f", "g"])},
    optional={"disable_parallel_tool_use": some(flags)},
)
bodies = st.fixed_dictionaries(
    {"messages": some(st.lists(message, min_size=1, max_size=3))},
    optional={
        "system": some(texts | texts_of),
        "tools": some(st.lists(tool, max_size=2)),
        "tool_choice": some(choice),
        "thinking": some(block("enabled", budget_tokens=st.integers()) | st.just({"type": "adaptive"})),
        "output_config": some_of(
            effort=st.sampled_from(["low", "max"]),
            format=st.fixed_dictionaries({"type": st.just("json_schema"), "schema": schema}),
        ),
        "temperature": some(st.floats(0, 2)),
        "top_p": some(st.floats(0, 1)),
        "top_k": some(st.integers(0, 100)),
        "stop_sequences": some(st.lists(texts, max_size=3)),
        "metadata": some_of(user_id=texts),
        "mcp_servers": some(st.just([])),
    },
)
limits = some(st.sampled_from([5, 5, 5, 0, -1, 2**40]))


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    path=st.sampled_from(["/v1/messages", "/v1/messages/count_tokens"]),
    body=some(bodies), model=some(st.sampled_from(MODELS)), limit=limits,
)  # fmt: skip
@example(path="/v1/messages", body={"messages": [{"role": "user", "content": "hi"}]}, model="every", limit=5)
@example(
    path="/v1/messages/count_tokens", body={"messages": [{"role": "user", "content": "hi"}]}, model="every", limit=5
)
@example(path="/v1/messages", body={"messages": [{"role": "user", "content": "\ud800"}]}, model="nope", limit=5)
@example(path="/v1/messages", body={"output_config": {"a": float("nan")}}, model="every", limit=5)
def _every_body_is_answered(
    api: httpx.Client, seen: Counter[int], path: str, body: Any, model: Any, limit: Any
) -> None:
    if isinstance(body, dict):
        body = {"model": model, "max_tokens": limit, **body}
    reply = api.post(path, content=json.dumps(body).encode("utf-8", "surrogatepass"))
    seen[reply.status_code] += 1
    assert reply.status_code in {200, 400, 403, 404}, (body, reply.text)
    said = reply.json()
    if reply.status_code == 200:
        assert said["role"] == "assistant" if path == "/v1/messages" else said["input_tokens"] >= 0
    else:
        assert said["type"] == "error" and said["error"]["message"]
    Run.objects.all().delete()


def test_no_body_gets_a_500(api: httpx.Client, alice: User, make_model: MakeModel) -> None:
    make_model("every", alice, capabilities=["completion", "tools", "vision", "thinking"])
    seen: Counter[int] = Counter()
    with answering(alice):
        _every_body_is_answered(api, seen)
    assert seen[200] >= 30 and seen[400] >= 20 and seen[404], seen  # good and bad ones, each for many reasons
