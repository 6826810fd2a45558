"""A property of generate and chat: whatever the body is, it is answered, and with a 500 only where Ollama has one."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import redis
from django.conf import settings as django_settings
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from apps.accounts.models import User
from apps.inference.models import Run
from apps.inference.types import RENDERED
from apps.streams import log
from tests.api.ollama.recordings import PICTURE
from tests.api.ollama.test_inference import FENCE, HELLO

pytestmark = pytest.mark.django_db(transaction=True)

LISTED = ('option "', "invalid format: ", "template: ")  # how the contract's 500s begin
MODELS = [
    "able",
    "plain",
    "able",
    "eyes",
    "think",
    "emb",
    "nope",
    "",
    "a b",
    "plain:latest",
    "PLAIN",
    "plain:cloud",
    "\ud800",
]

numbers = st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from([0, -1, 0.5, 1e308])
scalars = (
    st.none() | st.booleans() | numbers | st.text(max_size=5) | st.sampled_from(["json", "5m", "high", "{{", PICTURE])
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@st.composite
def some(draw: st.DrawFn, proper: st.SearchStrategy[Any]) -> Any:
    """What belongs there, now and then something else."""
    return draw(anything if draw(st.integers(0, 30)) == 30 else proper)


def some_of(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional={name: some(values) for name, values in fields.items()})


texts = st.text(max_size=8)
properties = st.dictionaries(
    texts, some_of(type=texts | st.lists(texts, max_size=2), enum=st.lists(scalars)), max_size=2
)
parameters = some_of(type=texts, required=st.lists(texts, max_size=2), properties=properties)
tool = some_of(type=texts, function=some_of(name=texts, description=texts, parameters=parameters))
call = some_of(id=texts, function=some_of(name=texts, arguments=st.dictionaries(texts, anything, max_size=2)))
images = st.lists(st.sampled_from([PICTURE, "", "aGk=", "%"]), max_size=2)
message = some_of(
    role=st.sampled_from(["user", "system", "assistant", "tool", "USER"]),
    content=texts, thinking=texts, images=images, tool_calls=st.lists(call, max_size=2), tool_name=texts,
    tool_call_id=texts,
)  # fmt: skip
OPTIONS = ["num_ctx", "num_predict", "temperature", "seed", "stop", "top_k", "num_gpu", "use_mmap", "nonsense"]
shared: dict[str, st.SearchStrategy[Any]] = {
    "options": st.dictionaries(st.sampled_from(OPTIONS), some(numbers), max_size=3),
    "format": st.sampled_from(["", "json", {}, {"type": "object"}]),
    "keep_alive": st.sampled_from(["5m", 0, -1, 1.5, "5", "1d"]),
    "think": st.sampled_from([True, False, "low", "max"]),
    "logprobs": st.booleans(),
    "top_logprobs": st.integers(-1, 21),
    "truncate": st.booleans(),
    "shift": st.booleans(),
    "_debug_render_only": st.booleans(),
}
generates = some_of(
    prompt=texts, suffix=texts, system=texts, template=texts, context=st.lists(numbers, max_size=3),
    raw=st.booleans(), images=images, **shared,
)  # fmt: skip
chats = some_of(messages=st.lists(message, max_size=3), tools=st.lists(tool, max_size=2), **shared)
requests = st.tuples(st.just("/api/generate"), some(generates)) | st.tuples(st.just("/api/chat"), some(chats))


@contextmanager
def answering(user: User) -> Iterator[None]:
    """Answers every run of `user` with a prompt to show and an end, as long as it lasts."""
    done = threading.Event()
    thread = threading.Thread(target=_answer_all, args=(str(user.pk), done))
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(20)


def _answer_all(owner: str, done: threading.Event) -> None:
    client = redis.Redis.from_url(django_settings.REDIS_URL, decode_responses=True)
    writer = log.from_url(django_settings.REDIS_URL)
    while not done.wait(0.002):
        for key in client.scan_iter("log:{run-*}:meta", count=1000):
            if client.hmget(key, "owner", "ended") == [owner, None]:
                log_id = str(key).removeprefix("log:{").removesuffix("}:meta")
                if writer.claim(log_id, FENCE):
                    writer.append(log_id, FENCE, [(RENDERED, {"text": "<hi>", "images": 0, "tokens": 3})])
                    writer.end(log_id, FENCE, *HELLO[-1])
    client.close()
    writer.close()


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(request=requests, model=some(st.sampled_from(MODELS)))
@example(request=("/api/generate", {"prompt": "hi"}), model="able")
@example(request=("/api/chat", {"messages": [{"role": "user"}], "options": {"stop": 5}}), model="able")
@example(request=("/api/chat", {"format": {"a": float("nan")}}), model="able")
def _every_body_is_answered(api: httpx.Client, seen: set[int], request: tuple[str, Any], model: Any) -> None:
    path, body = request
    if isinstance(body, dict):
        body = {"model": model, "stream": False, **body}
    reply = api.post(path, content=json.dumps(body).encode("utf-8", "surrogatepass"))
    seen.add(reply.status_code)
    if reply.status_code >= 500:
        assert reply.json()["error"].startswith(LISTED), body
    else:
        assert reply.status_code in {200, 400, 403, 404}, (body, reply.text)
    Run.objects.all().delete()


def test_no_body_gets_a_500_that_the_contract_does_not_list(api: httpx.Client, alice: User) -> None:
    seen: set[int] = set()
    with answering(alice):
        _every_body_is_answered(api, seen)
    assert seen >= {200, 400, 404, 500}, seen
