"""The contract's checks that need no model's words, and the account of all 118."""

import json
from typing import Any

import httpx
import pytest

from apps.accounts.models import User
from tests.api.ollama import checks
from tests.api.ollama.checks import check
from tests.api.ollama.conftest import Caller, MakeModel
from tests.api.ollama.recordings import EXCHANGES
from tests.api.ollama.test_failures import Failure, assert_fails, chat, generate

BODIES = ["generate", "chat", "embed", "embeddings", "create", "copy", "show", "pull", "push"]
THINK = '("high", "medium", "low", "max", true, or false)'


def test_every_check_is_carried_or_left_to_an_issue_that_is_named() -> None:
    built = checks.carried_by(*checks.carriers())
    assert built | set(checks.LATER) == set(checks.ALL)
    assert built & set(checks.LATER) == set()


@check(1)
def test_the_root_is_a_text_and_has_a_head(caller: Caller) -> None:
    reply = caller().get("/")
    assert (reply.status_code, reply.text) == (200, "Ollama is running")
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert caller().head("/").status_code == 200


@check(2)
def test_the_version_is_a_text(caller: Caller) -> None:
    reply = caller().get("/api/version")
    assert reply.json()["version"]
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    assert caller().head("/api/version").status_code == 200


@check(3)
@pytest.mark.parametrize("name", ["error-unknown-path", "error-method", "error-method-2"])
def test_an_unknown_path_or_method_is_answered_in_text(caller: Caller, name: str) -> None:
    request, golden = EXCHANGES[name]["request"], EXCHANGES[name]["response"]
    reply = caller().request(request["method"], request["path"])
    assert (reply.status_code, reply.text) == (golden["status"], golden["body"])
    assert reply.headers["Content-Type"] == "text/plain"
    assert reply.headers.get("Allow") == golden["headers"].get("allow")


@pytest.mark.parametrize("path", ["/api/generate", "/api/show", "/api/ps", "/api/copy", "/api/me"])
def test_head_is_served_only_where_ollama_registers_it(caller: Caller, path: str) -> None:
    assert caller().head(path).status_code == 405


@pytest.mark.parametrize(("method", "status"), [("GET", 301), ("HEAD", 307), ("POST", 307)])
def test_a_slash_too_many_is_sent_to_the_address_without_it(caller: Caller, method: str, status: int) -> None:
    reply = caller().request(method, "/api/tags/?a=b")
    assert (reply.status_code, reply.headers["Location"]) == (status, "/api/tags?a=b")


@check(4)
@pytest.mark.parametrize("endpoint", [*BODIES, "delete"])
def test_a_body_of_no_bytes_is_missing(api: httpx.Client, endpoint: str) -> None:
    method = "DELETE" if endpoint == "delete" else "POST"
    assert_fails(api, Failure(f"/api/{endpoint}", b"", 400, "missing request body", method))


@check(5, 6)
@pytest.mark.parametrize(
    ("body", "error"),
    [(b"{", "unexpected EOF"), (b"not json", "invalid character 'o' in literal null (expecting 'u')")],
)
def test_a_body_that_is_no_json_is_refused_in_gos_words(api: httpx.Client, body: bytes, error: str) -> None:
    assert_fails(api, Failure("/api/chat", body, 400, error))


@check(10)
def test_stream_must_be_a_boolean(api: httpx.Client) -> None:
    reply = api.post("/api/chat", json={"stream": "yes"})
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("json: cannot unmarshal string into Go struct field ChatRequest.stream")


@check(12)
def test_errors_are_json_also_for_a_form_and_whatever_the_client_accepts(api: httpx.Client) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/x-ndjson"}
    reply = api.post("/api/chat", content=b'{"model":"nope"}', headers=headers)
    assert (reply.status_code, reply.json()) == (404, {"error": "model 'nope' not found"})
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"


@check(22, 23, 24)
@pytest.mark.parametrize(
    ("model", "status", "error"),
    [
        ("", 404, "model '' not found"),
        ("nope", 404, "model 'nope' not found"),
        *[(name, 400, "invalid model name") for name in ("a b", "-x", "m:", "a/b/c/d")],
    ],
)
def test_generate_refuses_a_name_that_means_nothing(api: httpx.Client, model: str, status: int, error: str) -> None:
    assert_fails(api, generate(status, error, model=model))


@check(25, 55)
def test_an_embedding_model_neither_generates_nor_chats(api: httpx.Client) -> None:
    assert_fails(api, generate(400, '"emb" does not support generate', model="emb"))
    assert_fails(api, chat(400, '"emb" does not support chat', model="emb"))


@check(26, 54)
def test_a_plain_model_knows_neither_suffix_nor_tools(api: httpx.Client) -> None:
    full = "registry.ollama.ai/alice/plain:latest"
    assert_fails(api, generate(400, f"{full} does not support insert", suffix="x"))
    tool = {"type": "function", "function": {"name": "f"}}
    assert_fails(api, chat(400, f"{full} does not support tools", tools=[tool]))


@check(26, 54)
def test_a_model_of_the_library_is_named_as_ollama_does(caller: Caller, alice: User, make_model: MakeModel) -> None:
    make_model("shared", None)
    error = "registry.ollama.ai/library/shared:latest does not support insert"
    assert_fails(caller(alice), generate(400, error, model="shared", suffix="x"))


@check(28, 30)
@pytest.mark.parametrize(
    ("think", "error"),
    [
        (True, '"plain" does not support thinking'),
        ("high", '"plain" does not support thinking'),
        ("ultra", f'invalid think value: "ultra" (must be {THINK[1:]}'),
        (1, f"think must be a boolean or string {THINK}"),
    ],
)
def test_think_is_checked(api: httpx.Client, think: Any, error: str) -> None:
    assert_fails(api, generate(400, error, think=think))


@check(31)
@pytest.mark.parametrize("field", [{"system": "s"}, {"template": "t"}, {"context": [1]}])
def test_raw_allows_no_other_prompt_parts(api: httpx.Client, field: dict[str, Any]) -> None:
    assert_fails(api, generate(400, "raw mode does not support template, system, or context", raw=True, **field))


@check(33)
@pytest.mark.parametrize("value", [21, -1])
def test_top_logprobs_have_a_range_even_for_an_unknown_model(api: httpx.Client, value: int) -> None:
    assert_fails(api, generate(400, "top_logprobs must be between 0 and 20", top_logprobs=value, model="nope"))


@check(37)
def test_a_format_that_is_none_is_a_500(api: httpx.Client) -> None:
    reply = api.post("/api/generate", json={"model": "plain", "prompt": "x", "format": "xml", "stream": False})
    assert reply.status_code == 500
    assert reply.json()["error"].startswith("invalid format:")


@check(38)
def test_images_must_be_base64(api: httpx.Client) -> None:
    reply = api.post("/api/generate", json={"model": "plain", "prompt": "x", "images": ["%%%"]})
    assert reply.status_code == 400
    assert reply.json()["error"].endswith("illegal base64 data at input byte 0")


@check(39, 40)
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"temperature": "hot"}, 'option "temperature" must be of type float32'),
        ({"stop": "x"}, 'option "stop" must be of type array'),
    ],
)
def test_options_of_a_wrong_type_are_a_500(api: httpx.Client, options: dict[str, Any], error: str) -> None:
    assert_fails(api, generate(500, error, options=options))


@check(44)
@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("5", 'time: missing unit in duration "5"'),
        ("abc", 'time: invalid duration "abc"'),
        (True, "Unsupported type: 'bool'"),
    ],
)
def test_a_keep_alive_that_is_no_duration_is_refused(api: httpx.Client, value: Any, error: str) -> None:
    assert_fails(api, generate(400, error, keep_alive=value))


@check(48)
def test_chat_without_a_model_fails_otherwise_than_generate(api: httpx.Client) -> None:
    assert_fails(api, chat(400, "model is required", model=""))


@check(50)
def test_content_in_parts_is_refused(api: httpx.Client) -> None:
    reply = api.post("/api/chat", json={"model": "plain", "messages": [{"role": "user", "content": ["a"]}]})
    assert (reply.status_code, "cannot unmarshal array" in reply.text) == (400, True)


@check(53)
def test_arguments_of_a_call_must_be_an_object(api: httpx.Client) -> None:
    call = {"function": {"name": "f", "arguments": "{}"}}
    reply = api.post("/api/chat", json={"model": "plain", "messages": [{"role": "assistant", "tool_calls": [call]}]})
    assert reply.status_code == 400


@check(61, 64)
@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"model": "emb", "input": 5}, 400, "invalid input type"),
        ({"model": "emb", "input": [1]}, 400, "invalid input type"),
        ({"model": "nope", "input": "x"}, 404, 'model "nope" not found, try pulling it first'),
    ],
)
def test_embed_checks_its_input_and_its_model(api: httpx.Client, body: Any, status: int, error: str) -> None:
    assert_fails(api, Failure("/api/embed", body, status, error))


@check(91)
def test_pull_and_push_want_a_name(api: httpx.Client) -> None:
    assert_fails(api, Failure("/api/pull", {"model": ""}, 400, "invalid model name"))
    assert_fails(api, Failure("/api/push", {"model": ""}, 400, "model is required"))


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, each in EXCHANGES.items()
        if each["response"]["status"] >= 400 and each["request"]["method"] != "OPTIONS"
    ],
)
def test_the_recorded_failures_are_repeated(caller: Caller, alice: User, make_model: MakeModel, name: str) -> None:
    """Statuses and envelopes as recorded; the sentences too, but for what is not served yet or ours says better."""
    if name in OURS:
        pytest.skip(OURS[name])
    make_model("qwen2.5-coder", None, tag="0.5b")
    request, golden = EXCHANGES[name]["request"], EXCHANGES[name]["response"]
    body = request.get("body")
    content = body.encode() if isinstance(body, str) else b"" if body is None else json.dumps(body).encode()
    reply = caller(alice).request(request["method"], request["path"], content=content)
    assert reply.status_code == golden["status"]
    if golden["headers"].get("content-type", "").startswith("application/json") and golden["body"]:
        assert reply.json() == golden["body"]


OURS = {
    "create-quantize-quantized": "a job finds it: test_conformance_models",
    "host-foreign": "the guards' own tests",
    "cors-foreign": "the guards' own tests",
}
