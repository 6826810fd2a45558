"""Every endpoint's failures through one assertion: status, JSON envelope, the contract's sentence, nothing else."""

import json
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from apps.accounts.models import User
from tests.api.ollama.conftest import Caller, MakeModel

ZEROS = "sha256:" + "0" * 64
HELLO = [{"role": "user", "content": "hi"}]
THINK = '(must be "high", "medium", "low", "max", true, or false)'
PIXEL = "iVBORw0KGgo="


@dataclass(frozen=True)
class Failure:
    path: str
    body: Any
    status: int
    error: str
    method: str = "POST"


def generate(status: int, error: str, **fields: Any) -> Failure:
    return Failure("/api/generate", {"model": "plain", "prompt": "hi", **fields}, status, error)


def chat(status: int, error: str, **fields: Any) -> Failure:
    return Failure("/api/chat", {"model": "plain", "messages": HELLO, **fields}, status, error)


BODIES = [
    Failure(path, body, 400, error, method)
    for path, method, kind in [
        ("/api/generate", "POST", "GenerateRequest"),
        ("/api/chat", "POST", "ChatRequest"),
        ("/api/embed", "POST", "EmbedRequest"),
        ("/api/embeddings", "POST", "EmbeddingRequest"),
        ("/api/create", "POST", "CreateRequest"),
        ("/api/copy", "POST", "CopyRequest"),
        ("/api/show", "POST", "ShowRequest"),
        ("/api/pull", "POST", "PullRequest"),
        ("/api/push", "POST", "PushRequest"),
        ("/api/delete", "DELETE", "DeleteRequest"),
    ]
    for body, error in [
        (b"", "missing request body"),
        (b"{", "unexpected EOF"),
        (b"not json", "invalid character 'o' in literal null (expecting 'u')"),
        (b"[]", f"json: cannot unmarshal array into Go value of type api.{kind}"),
    ]
]

GENERATE = [
    generate(400, "top_logprobs must be between 0 and 20", top_logprobs=21, model="nope"),
    generate(400, "top_logprobs must be between 0 and 20", top_logprobs=-1),
    generate(404, "model '' not found", model=""),
    generate(404, "model 'nope' not found", model="nope"),
    generate(404, "model 'hidden' not found", model="hidden"),
    generate(404, "model 'charlie/hidden' not found", model="charlie/hidden"),
    *[generate(400, "invalid model name", model=name) for name in ("a b", "-x", "m:", "a/b/c/d")],
    generate(403, "ollama cloud is disabled: remote model is unavailable", model="plain:cloud"),
    generate(400, 'use either :local or :cloud, not both: "foo:cloud:local"', model="foo:cloud:local"),
    generate(400, '"emb" does not support generate', model="emb"),
    generate(400, "registry.ollama.ai/alice/plain:latest does not support insert", suffix="x"),
    generate(400, '"plain" does not support thinking', think=True),
    generate(400, '"plain" does not support thinking', think="low"),
    generate(400, f'invalid think value: "ultra" {THINK}', think="ultra"),
    generate(400, f"think must be a boolean or string {THINK.replace('must be ', '')}", think=1),
    *[
        generate(400, "raw mode does not support template, system, or context", raw=True, **field)
        for field in ({"system": "s"}, {"template": "t"}, {"context": [1]})
    ],
    generate(500, 'option "temperature" must be of type float32', options={"temperature": "hot"}),
    generate(500, 'option "num_ctx" must be of type integer', options={"num_ctx": True}),
    generate(500, 'option "stop" must be of type array', options={"stop": "x"}),
    generate(500, 'option "stop" must be of an array of strings', options={"stop": [1]}),
    generate(400, 'time: missing unit in duration "5"', keep_alive="5"),
    generate(400, 'time: invalid duration "abc"', keep_alive="abc"),
    generate(400, "Unsupported type: 'bool'", keep_alive=True),
    generate(500, 'invalid format: "\\"xml\\""; expected "json" or a valid JSON Schema object', format="xml"),
    generate(500, 'invalid format: "5"; expected "json" or a valid JSON Schema object', format=5),
    generate(
        400,
        "json: cannot unmarshal string into GenerateRequest.images.0 of type api.ImageData: "
        "illegal base64 data at input byte 0",
        images=["%%%"],
    ),
    generate(400, '"plain" does not support images', images=[PIXEL]),
    generate(500, "template: :1: unclosed action", template="{{ .Prompt"),
    generate(400, '"emb" does not support thinking', model="emb", think=True),
    generate(400, "an image could not be read: send a whole PNG, JPEG, WebP or GIF", images=[PIXEL], model="eyes"),
]

CHAT = [
    chat(400, "model is required", model=""),
    chat(400, "model is required", model=" "),
    chat(404, "model 'nope' not found", model="nope"),
    chat(404, "model 'hidden' not found", model="hidden"),
    chat(400, "invalid model name", model="a b"),
    chat(400, "top_logprobs must be between 0 and 20", top_logprobs=21, model="nope"),
    chat(400, '"emb" does not support chat', model="emb"),
    chat(400, '"plain" does not support thinking', think="high"),
    chat(
        400,
        "registry.ollama.ai/alice/plain:latest does not support tools",
        tools=[{"type": "function", "function": {"name": "f"}}],
    ),
    chat(
        400,
        "json: cannot unmarshal array into Go struct field Alias.content of type string",
        messages=[{"role": "user", "content": ["a"]}],
    ),
    chat(
        400,
        "Value looks like object, but can't find closing '}' symbol",
        messages=[{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}],
    ),
    chat(
        400,
        "json: cannot unmarshal string into ChatRequest.tools.0.function of type api.ToolFunction",
        tools=[{"function": "f"}],
    ),
    chat(
        400,
        "an image could not be read: send a whole PNG, JPEG, WebP or GIF",
        messages=[{"role": "user", "images": [PIXEL]}],
        model="eyes",
    ),
    chat(400, '"plain" does not support images', messages=[{"role": "user", "images": [PIXEL]}]),
    chat(500, 'invalid format: "[]"; expected "json" or a valid JSON Schema object', format=[]),
    chat(500, 'option "seed" must be of type integer', options={"seed": "x"}),
]

EMBED = [
    Failure("/api/embed", {"model": "", "input": "x"}, 404, "model '' not found"),
    Failure("/api/embed", {"model": "nope", "input": "x"}, 404, 'model "nope" not found, try pulling it first'),
    Failure("/api/embed", {"model": "hidden", "input": "x"}, 404, 'model "hidden" not found, try pulling it first'),
    *[
        Failure("/api/embed", {"model": "emb", "input": value}, 400, "invalid input type")
        for value in (5, 0, False, [1], {}, {"a": "b"}, ["a", None])
    ],
    Failure("/api/embed", {"model": "a b", "input": "x"}, 400, "invalid model name"),
    Failure("/api/embeddings", {"prompt": "x"}, 400, "model is required"),
    Failure("/api/embeddings", {"model": "nope"}, 404, 'model "nope" not found, try pulling it first'),
]

MODELS = [
    Failure("/api/show", {}, 400, "model is required"),
    Failure("/api/show", {"model": "", "name": ""}, 400, "model is required"),
    Failure("/api/show", {"model": "a b"}, 400, "invalid model name"),
    Failure("/api/show", {"model": "nope"}, 404, "model 'nope:latest' not found"),
    Failure("/api/show", b'{"model":"nope"} junk', 404, "model 'nope:latest' not found"),
    Failure("/api/show", {"name": "me/nope:v1"}, 404, "model 'me/nope:v1' not found"),
    Failure("/api/show", {"model": "hidden"}, 404, "model 'hidden:latest' not found"),
    Failure("/api/copy", {}, 400, 'source "" is invalid'),
    Failure("/api/copy", {"source": "plain"}, 400, 'destination "" is invalid'),
    Failure("/api/copy", {"source": "a b!", "destination": "x"}, 400, 'source "a b!" is invalid'),
    Failure("/api/copy", {"source": "plain", "destination": 'a "b'}, 400, 'destination "a \\"b" is invalid'),
    Failure("/api/copy", {"source": "nope", "destination": "x"}, 404, 'model "nope" not found'),
    Failure("/api/copy", {"source": "hidden", "destination": "x"}, 404, 'model "hidden" not found'),
    Failure("/api/delete", {}, 400, "model is required", "DELETE"),
    Failure("/api/delete", {"model": "a b"}, 400, 'name "a b" is invalid', "DELETE"),
    Failure("/api/delete", {"name": "nope"}, 404, "model 'nope' not found", "DELETE"),
    Failure("/api/delete", {"model": "charlie/hidden"}, 404, "model 'charlie/hidden' not found", "DELETE"),
    Failure("/api/create", {"model": "x"}, 400, "neither 'from' or 'files' was specified"),
    Failure("/api/create", {"model": "x y", "from": "plain"}, 400, "invalid model name"),
    Failure("/api/create", {"from": "plain"}, 400, "invalid model name"),
    *[
        Failure("/api/create", {"model": "x", "files": {name: ZEROS}}, 400, "file path must be relative")
        for name in ("../a", "/a", "a/./b", "a//b")
    ],
    Failure("/api/create", {"model": "x", "files": {"a.gguf": ""}}, 400, "invalid digest format"),
    Failure("/api/create", {"model": "x", "files": {}}, 400, "unknown type"),
    Failure(
        "/api/create",
        {"model": "x", "from": "plain", "quantize": "q5_0"},
        500,
        "unsupported quantization type Q5_0 - supported types are F32, F16, Q4_K_S, Q4_K_M, Q8_0",
    ),
    Failure("/api/create", {"model": "x", "modelfile": "SYSTEM hi"}, 400, "no FROM line"),
    Failure(
        "/api/create",
        {"model": "x", "modelfile": "FROM plain\nBAD x"},
        400,
        '(line 2): command must be one of "from", "license", "template", "system", "adapter", "draft", "renderer", '
        '"parser", "parameter", "message", or "requires"',
    ),
    Failure(
        "/api/create",
        {"model": "x", "modelfile": "FROM plain\nMESSAGE tool hi"},
        400,
        '(line 2): message role must be one of "system", "user", or "assistant"',
    ),
    Failure(
        "/api/create",
        {"model": "x", "from": "plain", "messages": [{"role": "user", "content": "a\x00"}]},
        400,
        "a model's texts must not contain the character U+0000",
    ),
    Failure(
        "/api/create",
        {"model": "x", "from": "plain", "messages": [{"role": "user", "images": [PIXEL]}]},
        400,
        "messages.images cannot be stored in a model yet",
    ),
    Failure(
        "/api/create",
        {"model": "x", "path": "/etc/passwd"},
        400,
        "path must name a Modelfile in a folder that the server allows; send modelfile instead",
    ),
    Failure("/api/blobs/nonsense", b"x", 400, "invalid digest format"),
    Failure(
        f"/api/blobs/{ZEROS}",
        b"x",
        400,
        f'digest mismatch, expected "{ZEROS}", '
        'got "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"',
    ),
    Failure("/api/pull", {}, 400, "invalid model name"),
    Failure("/api/pull", {"model": "a b!"}, 400, "invalid model name"),
    Failure("/api/pull", {"model": "x"}, 501, "this server does not pull models yet; make one with /api/create"),
    Failure("/api/push", {}, 400, "model is required"),
    Failure("/api/push", {"model": "alice/plain"}, 501, "this server does not push models yet"),
]


def _name(failure: Failure) -> str:
    body = failure.body.decode() if isinstance(failure.body, bytes) else json.dumps(failure.body)
    return f"{failure.path[5:15]} {body[:60]}"


def assert_fails(client: httpx.Client, failure: Failure) -> None:
    content = failure.body if isinstance(failure.body, bytes) else json.dumps(failure.body).encode()
    reply = client.request(failure.method, failure.path, content=content)
    assert (reply.status_code, reply.json()) == (failure.status, {"error": failure.error})
    assert reply.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize("failure", [*BODIES, *GENERATE, *CHAT, *EMBED, *MODELS], ids=_name)
def test_a_request_fails_with_the_contracts_words(
    failure: Failure, api: httpx.Client, charlie: User, make_model: MakeModel
) -> None:
    make_model("hidden", charlie)
    assert_fails(api, failure)


@pytest.mark.parametrize("extra", [{}, {"stream": False}, {"stream": True}])
def test_streaming_or_not_a_failure_before_the_first_line_is_the_same(api: httpx.Client, extra: Any) -> None:
    assert_fails(api, generate(404, "model 'nope' not found", model="nope", **extra))
    assert_fails(api, chat(400, "model is required", model="", **extra))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/generate"),
        ("POST", "/api/chat"),
        ("POST", "/api/embed"),
        ("POST", "/api/embeddings"),
        ("GET", "/api/tags"),
        ("GET", "/api/ps"),
        ("POST", "/api/show"),
        ("POST", "/api/create"),
        ("POST", "/api/copy"),
        ("DELETE", "/api/delete"),
        ("POST", f"/api/blobs/{ZEROS}"),
        ("POST", "/api/pull"),
        ("POST", "/api/push"),
        ("POST", "/api/me"),
    ],
)
def test_nobody_gets_in_without_a_key_and_is_told_how_to_get_one(caller: Caller, method: str, path: str) -> None:
    reply = caller().request(method, path, content=b"{}")
    assert reply.status_code == 401
    assert "key" in reply.json()["error"]


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        ("infer", "POST", "/api/generate"),
        ("infer", "POST", "/api/chat"),
        ("infer", "POST", "/api/embed"),
        ("infer", "POST", "/api/embeddings"),
        ("models", "POST", "/api/create"),
        ("models", "POST", "/api/copy"),
        ("models", "DELETE", "/api/delete"),
        ("models", "HEAD", f"/api/blobs/{ZEROS}"),
        ("models", "POST", f"/api/blobs/{ZEROS}"),
        ("models", "POST", "/api/pull"),
        ("models", "POST", "/api/push"),
    ],
)
def test_a_key_without_the_scope_is_refused_and_told_which(
    caller: Caller, alice: User, scope: str, method: str, path: str
) -> None:
    other = "models" if scope == "infer" else "infer"
    reply = caller(alice, scopes=[other]).request(method, path, content=b"{}")
    assert reply.status_code == 403
    assert method == "HEAD" or scope in reply.json()["error"]
