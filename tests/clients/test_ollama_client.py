"""Ollama's own Python client, unchanged, against a running Corral with the real model."""

import asyncio
import math
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from ollama import AsyncClient, Client, ResponseError
from pydantic import BaseModel

from tests.api.ollama.recordings import PICTURE
from tests.clients.conftest import MODEL
from tests.gguf_files import tiny
from tests.server import Server

COUNT: Any = [{"role": "user", "content": "Count from 1 to 5, separated by spaces."}]
SHORT: Any = {"temperature": 0, "seed": 1, "num_predict": 12}
LONG: Any = {"temperature": 0, "seed": 1, "num_predict": 80}
ASK_WEATHER: Any = [{"role": "user", "content": "What is the weather in Paris? Use the tool."}]


class Person(BaseModel):
    name: str
    age: int


def get_weather(city: str) -> str:
    """Get the current weather of a city.

    Args:
        city: The name of the city

    Returns:
        str: What the weather is like
    """
    return f"22 degrees and sunny in {city}"


def access(house: Server) -> dict[str, Any]:
    return {"host": house.url, "headers": {"Authorization": f"Bearer {house.key}"}, "timeout": 120}


@pytest.fixture(scope="module")
def client(house: Server) -> Iterator[Client]:
    with Client(**access(house)) as made:
        yield made


# --- Words --------------------------------------------------------------------------------------------------------


def test_a_chat(client: Client) -> None:
    said = client.chat(MODEL, COUNT, options=SHORT)
    assert "1 2 3" in str(said.message.content)
    assert (said.model, said.message.role, said.done, said.done_reason) == (MODEL, "assistant", True, "stop")
    assert (said.prompt_eval_count or 0) > 0 and (said.eval_count or 0) > 0
    assert (said.total_duration or 0) >= (said.load_duration or 0) >= 0
    assert said["message"]["content"] == said.message.content


def test_a_stream_says_what_the_whole_says(client: Client) -> None:
    whole = client.chat(MODEL, COUNT, options=SHORT).message.content
    parts = list(client.chat(MODEL, COUNT, options=SHORT, stream=True))
    assert len(parts) > 3
    assert "".join(part.message.content or "" for part in parts) == whole
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]


def test_a_text_goes_on_where_a_context_ended(client: Client) -> None:
    first = client.generate(MODEL, "Say one word.", options=SHORT)
    assert first.response and first.context
    again = client.generate(MODEL, "Another.", context=first.context, options=SHORT)
    assert again.response and (again.prompt_eval_count or 0) > (first.prompt_eval_count or 0)


def test_a_generation_streams_and_may_be_left(client: Client) -> None:
    parts = client.generate(MODEL, "Tell me a long story.", stream=True, options={"num_predict": 400})
    assert next(iter(parts)).done is False
    del parts
    assert client.generate(MODEL, "1, 2, 3,", raw=True, options=SHORT).response


def test_what_a_reply_may_be_asked_for_besides(client: Client) -> None:
    said = client.generate(MODEL, "1, 2, 3,", logprobs=True, top_logprobs=2, think=False, options=SHORT)
    assert said.logprobs and all(len(item.top_logprobs or ()) == 2 for item in said.logprobs)
    assert "".join(item.token for item in said.logprobs) == said.response
    middle = client.generate(MODEL, "def add(a, b):\n    return", suffix="\n\nprint(add(1, 2))", options=SHORT)
    assert "a + b" in middle.response


def test_a_picture_shown_to_a_model_without_eyes_is_refused(client: Client) -> None:
    with pytest.raises(ResponseError, match="image") as refused:
        client.chat(MODEL, [{"role": "user", "content": "What is this?", "images": [PICTURE]}])
    assert refused.value.status_code == 400
    with pytest.raises(ResponseError, match="image") as refused:
        client.generate(MODEL, "What is this?", images=[PICTURE], stream=False)
    assert refused.value.status_code == 400


# --- Tools and format ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_python_function_is_called_and_its_result_is_used(client: Client, stream: bool) -> None:
    said: Any = client.chat(MODEL, ASK_WEATHER, tools=[get_weather], options=LONG, stream=stream)
    parts = list(said) if stream else [said]
    (call,) = [call for part in parts for call in part.message.tool_calls or ()]
    assert (call.function.name, dict(call.function.arguments)) == ("get_weather", {"city": "Paris"})
    result = {"role": "tool", "tool_name": "get_weather", "content": get_weather(**call.function.arguments)}
    history = [*ASK_WEATHER, {"role": "assistant", "content": "", "tool_calls": [call]}, result]
    after = client.chat(MODEL, history, options=LONG)
    assert "22" in str(after.message.content)


def test_an_answer_has_the_shape_of_a_type(client: Client) -> None:
    asked = "Ada is 36 years old. Answer in JSON with her name and age."
    schema = Person.model_json_schema()
    said = client.chat(MODEL, [{"role": "user", "content": asked}], format=schema, options=LONG)
    person = Person.model_validate_json(said.message.content or "")
    assert person.age == 36 and person.name
    written = client.generate(MODEL, asked, format=schema, options=LONG)
    assert Person.model_validate_json(written.response).age == 36


# --- Vectors ------------------------------------------------------------------------------------------------------


def test_embeddings(client: Client) -> None:
    said = client.embed(MODEL, ["a cat", "a kitten"])
    assert len(said.embeddings) == 2 and (said.prompt_eval_count or 0) > 0
    assert all(math.isclose(sum(x * x for x in vector), 1, abs_tol=1e-3) for vector in said.embeddings)
    (alone,) = client.embed(MODEL, "a cat").embeddings
    assert sum(a * b for a, b in zip(alone, said.embeddings[0], strict=True)) > 0.999
    (short,) = client.embed(MODEL, "a cat", dimensions=64).embeddings
    assert len(short) == 64
    assert len(client.embeddings(MODEL, "a cat").embedding) == len(alone)


# --- Models -------------------------------------------------------------------------------------------------------


def test_models_are_listed_shown_and_seen_at_work(client: Client) -> None:
    (entry,) = [entry for entry in client.list().models if entry.model == MODEL]
    assert entry.details is not None and entry.details.family == "qwen2" and (entry.size or 0) > 1_000_000
    shown = client.show(MODEL)
    assert {"completion", "tools"} <= set(shown.capabilities or ())
    assert shown.modelinfo is not None and shown.modelinfo["general.architecture"] == "qwen2"
    assert client.generate(MODEL, keep_alive="5m").done_reason == "load"
    assert MODEL in [running.model for running in client.ps().models]


def test_a_model_is_made_copied_and_deleted(client: Client) -> None:
    steps = [
        part.status
        for part in client.create("yoshi", from_=MODEL, system="You are Mario.", parameters={"seed": 7}, stream=True)
    ]
    assert steps[-2:] == ["writing manifest", "success"]
    assert "seed" in str(client.show("yoshi").parameters)
    assert client.copy("yoshi", "luigi").status == "success"
    assert {"yoshi:latest", "luigi:latest"} <= {entry.model for entry in client.list().models}
    assert [client.delete(name).status for name in ("yoshi", "luigi")] == ["success", "success"]
    with pytest.raises(ResponseError, match="'yoshi' not found") as refused:
        client.delete("yoshi")
    assert refused.value.status_code == 404


def test_a_file_is_uploaded_and_becomes_a_model(client: Client, tmp_path: Any) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny())
    digest = client.create_blob(path)
    assert client.create("tiny", files={"tiny.gguf": digest}, stream=False).status == "success"
    details = client.show("tiny").details
    assert details is not None and details.format == "gguf"
    client.delete("tiny")


# --- Without waiting, and errors ------------------------------------------------------------------------------------


def test_the_client_that_does_not_block(house: Server) -> None:
    asyncio.run(_talk_at_once(access(house)))


async def _talk_at_once(given: dict[str, Any]) -> None:
    async with AsyncClient(**given) as client:
        whole, vectors, listed = await asyncio.gather(
            client.chat(MODEL, COUNT, options=SHORT), client.embed(MODEL, "a cat"), client.list()
        )
        assert "1 2 3" in str(whole.message.content) and vectors.embeddings and listed.models
        stream = await client.chat(MODEL, COUNT, options=SHORT, stream=True)
        assert "".join([part.message.content or "" async for part in stream]) == whole.message.content
        with pytest.raises(ResponseError, match="'nope' not found"):
            await client.generate("nope", "hi")


@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_the_clients_own(client: Client, stream: bool) -> None:
    def told(**asked: Any) -> tuple[int, str]:
        with pytest.raises(ResponseError) as refused:
            list(client.chat(**asked, stream=stream))
        return refused.value.status_code, refused.value.error

    assert told(model="nope", messages=COUNT) == (404, "model 'nope' not found")
    assert told(model=MODEL, messages=COUNT, think=True) == (400, f'"{MODEL}" does not support thinking')
    assert told(model=MODEL, messages=COUNT, options={"temperature": "hot"})[1] == (
        'option "temperature" must be of type float32'
    )
    status, sentence = told(model=MODEL, messages=COUNT, format={"not": {}})
    assert status == 400 and "not" in sentence


def test_a_wrong_key_is_refused(house: Server) -> None:
    with Client(host=house.url, headers={"Authorization": "Bearer corral_wrong"}) as stranger:
        with pytest.raises(ResponseError) as refused:
            stranger.list()
        assert refused.value.status_code == 401


def test_nobody_there_is_the_clients_own_error() -> None:
    with Client(host="http://127.0.0.1:9") as lost, pytest.raises((ConnectionError, httpx.HTTPError)):
        lost.list()
