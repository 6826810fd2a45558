"""generate and chat up to the log and from the log on: here the test writes what a runner would."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import redis
from django.conf import settings
from django.http import HttpResponse

from apps.accounts.models import User
from apps.api.inference import Announcing
from apps.api.ollama import wire
from apps.api.ollama.renderers import GenerationRenderer
from apps.errors import Problem
from apps.inference.models import Run
from apps.inference.types import END, ERROR, PROGRESS, RENDERED, TEXT, THINKING, TOOL_CALLS, Request, RunEnd
from apps.streams import log
from apps.streams.log import Entry
from tests.api.ollama.conftest import Caller, MakeModel
from tests.api.ollama.recordings import PICTURE, body_of, shape

pytestmark = pytest.mark.django_db(transaction=True)  # a reply that waits for its log gives its connection back

ENDED = RunEnd("stop", prompt_tokens=7, output_tokens=2, load_ns=1, prompt_ns=2, eval_ns=3, context=(1, 2, 3)).as_data()
HELLO = [(TEXT, {"t": "Hel"}), (TEXT, {"t": "lo"}), (END, ENDED)]
FENCE = 10**6  # greater than any that the placement gives out

Entries = Sequence[tuple[str, dict[str, Any]]]


@contextmanager
def runner(user: User, entries: Entries) -> Iterator[None]:
    """Answers the next run of `user` with these entries, from another thread, as a runner does."""
    thread = threading.Thread(target=_answer, args=(user.pk, entries))
    thread.start()
    try:
        yield
    finally:
        thread.join(20)


def _answer(user_id: int, entries: Entries) -> None:
    writer = log.from_url(settings.REDIS_URL)
    log_id = _next_log(user_id)
    assert writer.claim(log_id, FENCE)
    writer.append(log_id, FENCE, [entry for entry in entries if entry[0] not in (END, ERROR)])
    assert writer.end(log_id, FENCE, *entries[-1])
    writer.close()


def _next_log(user_id: int) -> str:
    client = redis.Redis.from_url(settings.REDIS_URL, decode_responses=True)
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        for key in client.scan_iter("log:{run-*}:meta"):
            owner, ended = client.hmget(key, "owner", "ended")
            if owner == str(user_id) and not ended:
                client.close()
                return str(key).removeprefix("log:{").removesuffix("}:meta")
        time.sleep(0.01)
    raise AssertionError("no run was started")


def stored(run: Run) -> dict[str, Any]:
    """What the run was given, as the worker will read it."""
    assert run.request is not None
    data: dict[str, Any] = json.loads(run.request)
    return data


def ask(client: httpx.Client, path: str, **fields: Any) -> httpx.Response:
    question = {"messages": [{"role": "user", "content": "hi"}]} if path == "/api/chat" else {"prompt": "hi"}
    return client.post(path, json={"model": "plain", "stream": False, **question, **fields})


@pytest.mark.parametrize(
    ("path", "recorded"), [("/api/generate", "generate-nostream"), ("/api/chat", "chat-nostream-history")]
)
def test_the_log_becomes_the_reply(api: httpx.Client, alice: User, path: str, recorded: str) -> None:
    with runner(alice, [(PROGRESS, {"stage": "loading", "fraction": 1.0}), *HELLO]):
        reply = ask(api, path)
    assert reply.status_code == 200, reply.text
    said = reply.json()
    assert shape(said) == shape(body_of(recorded))
    assert (said.get("response") or said["message"]["content"]) == "Hello"
    assert (said["model"], said["done_reason"], said["eval_count"]) == ("plain", "stop", 2)


def test_an_error_in_the_log_is_the_status(api: httpx.Client, alice: User) -> None:
    problem = Problem("internal", "model runner has unexpectedly stopped")
    with runner(alice, [(PROGRESS, {"stage": "loading", "fraction": 0.1}), (ERROR, problem.as_data())]):
        reply = ask(api, "/api/chat")
    assert (reply.status_code, reply.json()) == (500, {"error": problem.message})


@pytest.mark.parametrize(("path", "recorded"), [("/api/generate", "generate-load"), ("/api/chat", "chat-load")])
def test_nothing_to_answer_loads_and_says_so_in_one_object(
    api: httpx.Client, alice: User, path: str, recorded: str
) -> None:
    with runner(alice, [(END, RunEnd("stop").as_data())]):
        reply = api.post(path, json={"model": "plain"})
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    assert shape(reply.json()) == shape(body_of(recorded))
    assert reply.json()["done_reason"] == "load"
    assert Run.objects.get().kind == "load"


@pytest.mark.parametrize("stay", [0, "0", "0s", 0.0])
def test_nothing_to_answer_and_no_stay_unloads_without_a_run(api: httpx.Client, stay: Any) -> None:
    reply = api.post("/api/generate", json={"model": "plain", "keep_alive": stay})
    assert shape(reply.json()) == shape(body_of("generate-unload"))
    assert reply.json()["done_reason"] == "unload"
    assert not Run.objects.exists()


@pytest.mark.parametrize("stay", [-1, "-1m", None, 60])
def test_any_other_stay_loads(api: httpx.Client, alice: User, stay: Any) -> None:
    with runner(alice, [(END, RunEnd("stop").as_data())]):
        assert api.post("/api/generate", json={"model": "plain", "keep_alive": stay}).json()["done_reason"] == "load"


def test_everything_that_was_asked_reaches_the_run(caller: Caller, alice: User, make_model: MakeModel) -> None:
    make_model("tuned", alice, params={"temperature": 0.5, "top_k": 3, "num_ctx": 2048, "stop": ["x"]}, system="S")
    options = {"temperature": 0, "seed": 7, "num_predict": 5, "num_thread": 2, "nonsense": True}
    body = {"model": " tuned ", "system": "mine", "context": [1, 2], "keep_alive": "10m", "options": options}
    with runner(alice, HELLO):
        reply = ask(caller(alice), "/api/generate", truncate=False, shift=False, **body)
    assert reply.json()["model"] == " tuned "
    run = Run.objects.get()
    assert (run.keep_alive, run.context, run.options, run.kind) == (600.0, 2048, {"num_thread": 2}, "generate")
    given = stored(run)
    assert given["system"] == "S"
    request = Request.from_data(given["request"])
    assert (request.prompt, request.system, request.context, request.raw) == ("hi", "mine", (1, 2), False)
    assert (request.sampling.temperature, request.sampling.top_k, request.sampling.seed) == (0.0, 3, 7)
    assert (request.limits.num_predict, request.limits.stop) == (5, ("x",))
    assert (request.limits.truncate, request.limits.shift) == (False, False)
    assert (request.load.num_ctx, request.load.num_thread) == (2048, 2)


def test_a_conversation_reaches_the_run_with_roles_in_lower_case(api: httpx.Client, alice: User) -> None:
    messages = [{"role": "SYSTEM", "content": "a\u0000b"}, {"role": "User", "content": None}, {"role": "tool"}]
    with runner(alice, HELLO):
        assert ask(api, "/api/chat", messages=messages).status_code == 200
    request = Request.from_data(stored(Run.objects.get())["request"])
    assert [(m.role, m.content) for m in request.messages] == [("system", "a\x00b"), ("user", ""), ("tool", "")]


def test_what_counts_as_absent_is_not_refused(api: httpx.Client, alice: User) -> None:
    empty = {"template": "", "suffix": "", "format": "", "images": [], "think": False, "logprobs": False, "tools": []}
    with runner(alice, HELLO):
        assert ask(api, "/api/generate", **empty, options=None, context=None).status_code == 200
    with runner(alice, HELLO):
        assert ask(api, "/api/chat", **{**empty, "format": None, "think": None}).status_code == 200


def test_tools_thinking_and_format_reach_the_run(api: httpx.Client, alice: User) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "minimum": 1}}}
    fields = {"model": "able", "tools": [tool], "format": {"type": "object"}, "logprobs": True, "top_logprobs": 2}
    with runner(alice, HELLO):
        assert ask(api, "/api/chat", **fields).status_code == 200
    request = Request.from_data(stored(Run.objects.get())["request"])
    assert request.tools == ({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},)
    assert (request.think, request.logprobs) == (True, 2)
    assert request.format is not None
    assert request.format.schema == {"type": "object"}


def test_suffix_template_and_images_reach_the_run(api: httpx.Client, alice: User) -> None:
    with runner(alice, HELLO):
        assert ask(api, "/api/generate", model="able", suffix="end", template="{{ .Prompt }}").status_code == 200
    run = Run.objects.get()
    request = Request.from_data(stored(run)["request"])
    assert (request.suffix, request.template) == ("end", "{{ .Prompt }}")
    run.delete()
    with runner(alice, HELLO):
        assert ask(api, "/api/generate", model="eyes", images=[PICTURE]).status_code == 200
    assert Request.from_data(stored(Run.objects.get())["request"]).images == (PICTURE,)


def test_thinking_and_calls_stand_beside_the_content(api: httpx.Client, alice: User) -> None:
    calls = [{"id": "call_aaaaaaaa", "name": "f", "arguments": {"b": 1, "a": 2}}]
    frames = [(THINKING, {"t": "hm"}), (TEXT, {"t": "I call."}), (TOOL_CALLS, {"calls": calls}), (END, ENDED)]
    with runner(alice, frames):
        said = ask(api, "/api/chat", model="able").json()["message"]
    assert (said["content"], said["thinking"]) == ("I call.", "hm")
    function = {"index": 0, "name": "f", "arguments": {"b": 1, "a": 2}}
    assert said["tool_calls"] == [{"id": "call_aaaaaaaa", "function": function}]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
def test_a_prompt_to_be_shown_is_one_object(api: httpx.Client, alice: User, path: str, stream: bool) -> None:
    with runner(alice, [(RENDERED, {"text": "<|user|>hi", "images": 1}), (END, RunEnd("stop").as_data())]):
        reply = ask(api, path, stream=stream, _debug_render_only=True)
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    assert reply.json()["_debug_info"] == {"rendered_template": "<|user|>hi", "image_count": 1}
    assert Request.from_data(stored(Run.objects.get())["request"]).render_only


def test_a_shortened_prompt_is_told_in_a_header_and_in_the_reply(api: httpx.Client, alice: User) -> None:
    dropped = (PROGRESS, {"stage": "prompt", "dropped_tokens": 120})
    end = RunEnd("stop", prompt_tokens=500, dropped_tokens=120).as_data()
    with runner(alice, [(PROGRESS, {"stage": "loading", "fraction": 1.0}), dropped, *HELLO[:2], (END, end)]):
        reply = ask(api, "/api/chat")
    assert reply.headers["X-Corral-Dropped-Tokens"] == "120"
    assert reply.json()["prompt_dropped_count"] == 120


def test_a_stream_has_the_header_before_its_first_line() -> None:
    reply = HttpResponse()
    renderer = Announcing(GenerationRenderer(wire.Reply("m", chat=True, started_ns=0)), reply)
    assert not list(renderer.lines(Entry("1-0", PROGRESS, {"stage": "prompt", "dropped_tokens": 120})))
    assert reply["X-Corral-Dropped-Tokens"] == "120"
    assert list(renderer.lines(Entry("1-1", TEXT, {"t": "a"})))
    assert renderer.content_type == "application/x-ndjson"


def test_a_prompt_that_fits_is_told_nowhere(api: httpx.Client, alice: User) -> None:
    with runner(alice, [(PROGRESS, {"stage": "prompt", "dropped_tokens": 0}), *HELLO]):
        reply = ask(api, "/api/chat")
    assert "X-Corral-Dropped-Tokens" not in reply.headers
    assert "prompt_dropped_count" not in reply.json()


def test_an_error_of_the_renderer_keeps_its_status(api: httpx.Client, alice: User) -> None:
    problem = Problem("invalid", "template: :1: nil data; no entry for key", status=500)
    with runner(alice, [(ERROR, problem.as_data())]):
        reply = ask(api, "/api/generate", template="{{ .Prompt }}")
    assert (reply.status_code, reply.json()) == (500, {"error": problem.message})


def test_a_model_of_the_library_is_for_all_and_anothers_for_nobody(
    caller: Caller, alice: User, charlie: User, make_model: MakeModel
) -> None:
    make_model("shared", None)
    make_model("hers", alice)
    with runner(charlie, HELLO):
        assert ask(caller(charlie), "/api/chat", model="shared").status_code == 200
    for name in ("hers", "alice/hers", "alice/hers:latest"):
        reply = ask(caller(charlie), "/api/chat", model=name)
        assert (reply.status_code, reply.json()) == (404, {"error": f"model '{name}' not found"})
