"""The contract's checks of /api/chat on a running server, and the stock Python client."""

import json
import os
import threading
import time
from collections.abc import Iterator

import httpx
import ollama
import pytest

from tests.api.ollama.checks import check
from tests.api.ollama.conftest import MODEL
from tests.api.ollama.recordings import body_of, shape
from tests.api.ollama.speaking import QUESTION, answer, chat, lines
from tests.server import Server


@pytest.fixture
def sdk(server: Server) -> Iterator[ollama.Client]:
    """The stock client, with the key where it looks for one."""
    os.environ["OLLAMA_API_KEY"] = server.key
    try:
        client = ollama.Client(host=server.url)
    finally:
        del os.environ["OLLAMA_API_KEY"]
    yield client
    client._client.close()


@check(47)
def test_the_guides_example_streams(live: httpx.Client) -> None:
    *early, last = lines(live, "/api/chat", chat())
    golden = body_of("chat-stream")
    assert early
    assert all(shape(line) == shape(golden[0]) for line in early)
    assert shape(last) == shape(golden[-1])
    assert all(line["message"]["role"] == "assistant" for line in [*early, last])


@check(7)
@pytest.mark.parametrize("headers", [{"Content-Type": "application/x-www-form-urlencoded"}, {"Content-Type": ""}])
def test_a_body_is_json_whatever_its_content_type(live: httpx.Client, headers: dict[str, str]) -> None:
    reply = live.post("/api/chat", content=json.dumps(chat(stream=False)).encode(), headers=headers)
    assert (reply.status_code, reply.json()["done"]) == (200, True)


@check(8, 9)
def test_a_tail_unknown_fields_and_capitals_do_no_harm(live: httpx.Client) -> None:
    body = {key.upper(): value for key, value in chat(stream=False, nonsense={"a": 1}).items()}
    reply = live.post("/api/chat", content=json.dumps(body).encode() + b" trailing")
    assert (reply.status_code, reply.json()["done"]) == (200, True)


@check(11)
def test_null_means_a_stream(live: httpx.Client) -> None:
    assert len(lines(live, "/api/chat", chat(stream=None))) > 1


@check(49)
def test_no_messages_load_or_unload(live: httpx.Client) -> None:
    for body, golden in [({}, "chat-load"), ({"keep_alive": 0}, "chat-unload"), ({}, "chat-load")]:
        said = live.post("/api/chat", json={"model": MODEL, "messages": [], **body}).json()
        assert shape(said) == shape(body_of(golden))
        assert said["done_reason"] == body_of(golden)["done_reason"]
        assert said["message"] == {"role": "assistant", "content": ""}


@check(50)
def test_roles_are_read_without_case_and_content_may_be_null(live: httpx.Client) -> None:
    upper = answer(live, "/api/chat", chat(messages=[{"role": "USER", "content": QUESTION}]))
    assert upper["message"]["content"] == answer(live, "/api/chat", chat())["message"]["content"]
    empty = [{"role": "assistant", "content": None}, {"role": "user", "content": QUESTION}]
    assert answer(live, "/api/chat", chat(messages=empty))["done"]


@check(54)
def test_empty_tools_are_no_tools(live: httpx.Client) -> None:
    assert answer(live, "/api/chat", chat(tools=[]))["done"]


@check(56)
def test_the_models_system_is_used_unless_the_first_message_is_one(live: httpx.Client) -> None:
    long = "You are a patient counting machine. " * 20
    assert live.post("/api/create", json={"model": "counter", "from": MODEL, "system": long}).status_code == 200
    own = answer(live, "/api/chat", chat(model="counter"))["prompt_eval_count"]
    plain = answer(live, "/api/chat", chat())["prompt_eval_count"]
    short = [{"role": "system", "content": "Hi."}, {"role": "user", "content": QUESTION}]
    replaced = answer(live, "/api/chat", chat(model="counter", messages=short))["prompt_eval_count"]
    assert own > plain + 80
    assert replaced < plain + 10
    assert live.request("DELETE", "/api/delete", json={"model": "counter"}).status_code == 200


@check(57)
def test_a_conversation_that_is_too_long_is_shortened(live: httpx.Client) -> None:
    words = [{"role": "user", "content": f"This is message number {n} of very many."} for n in range(200)]
    said = answer(live, "/api/chat", chat(messages=words, options={"num_ctx": 512, "num_predict": 2}))
    assert said["prompt_eval_count"] <= 512


@check(58)
def test_a_client_that_leaves_makes_room(live: httpx.Client) -> None:
    for _ in range(12):
        with live.stream("POST", "/api/chat", json=chat(options={"num_predict": 4000})) as reply:
            next(reply.iter_lines())
    started = time.monotonic()
    assert answer(live, "/api/chat", chat(options={"num_predict": 1}))["done"]
    assert time.monotonic() - started < 10


def test_eight_at_once_are_all_answered(live: httpx.Client) -> None:
    said: list[str] = []
    people = [threading.Thread(target=lambda: said.append(_ask(live))) for _ in range(8)]
    for person in people:
        person.start()
    for person in people:
        person.join(120)
    assert len(said) == 8
    assert all("1" in text for text in said)


def _ask(client: httpx.Client) -> str:
    return "".join(line["message"]["content"] for line in lines(client, "/api/chat", chat()))


def test_the_stock_client_chats_streams_and_lists(sdk: ollama.Client) -> None:
    whole = sdk.chat(MODEL, [{"role": "user", "content": QUESTION}], options={"temperature": 0, "num_predict": 12})
    assert whole.message.content
    streamed = sdk.generate(MODEL, QUESTION, stream=True, options={"temperature": 0, "num_predict": 12})
    assert "".join(part.response for part in streamed)
    assert MODEL in [model.model for model in sdk.list().models]
    assert MODEL in [model.model for model in sdk.ps().models]
    assert sdk.show(MODEL).modelinfo


def test_the_stock_client_makes_copies_and_deletes_its_own_models(sdk: ollama.Client) -> None:
    assert sdk.create("mine", from_=MODEL, system="You are Mario").status == "success"
    assert sdk.copy("mine", "mine2").status == "success"
    assert sdk.delete("mine2").status == "success"
    with pytest.raises(ollama.ResponseError, match="model 'mine2' not found"):
        sdk.delete("mine2")
    sdk.delete("mine")


def test_the_stock_client_calls_tools_and_is_shown_probabilities(sdk: ollama.Client) -> None:
    def get_weather(city: str) -> str:
        """Get the weather of a city

        Args:
            city: the city
        """
        return f"11 degrees in {city}"

    messages = [{"role": "user", "content": "What is the weather in Paris? Use the tool."}]
    said = sdk.chat(MODEL, messages, tools=[get_weather], options={"temperature": 0, "num_predict": 64})
    assert said.message.tool_calls
    called = said.message.tool_calls[0].function
    assert (called.name, called.arguments) == ("get_weather", {"city": "Paris"})
    answered = {"role": "tool", "tool_name": called.name, "content": get_weather(**called.arguments)}
    again = sdk.chat(MODEL, [*messages, said.message, answered], options={"temperature": 0, "num_predict": 24})
    assert again.message.content or again.message.tool_calls
    options = {"temperature": 0, "num_predict": 2}
    likely = sdk.generate(MODEL, "Say hello", logprobs=True, top_logprobs=2, options=options)
    assert likely.logprobs
    assert [len(item.top_logprobs or []) for item in likely.logprobs] == [2, 2]


def test_the_stock_client_is_told_what_is_wrong(sdk: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="model 'nope' not found") as raised:
        sdk.chat("nope", [{"role": "user", "content": "hi"}])
    assert raised.value.status_code == 404
