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

from apps.accounts.models import User
from apps.errors import Problem
from apps.inference.models import Run
from apps.inference.types import END, ERROR, PROGRESS, TEXT, Request, RunEnd
from apps.streams import log
from tests.api.ollama.conftest import Caller, MakeModel
from tests.api.ollama.recordings import body_of, shape

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
