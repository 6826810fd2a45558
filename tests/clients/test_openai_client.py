"""OpenAI's own Python client, unchanged, against a running Corral with the real model."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.server import MODEL, Server

COUNT: Any = [{"role": "user", "content": "Count from 1 to 5, separated by spaces."}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ASK_WEATHER: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
FIXED: Any = {"model": MODEL, "temperature": 0, "seed": 1}


class Person(BaseModel):
    name: str
    age: int


@pytest.fixture(scope="module")
def client(house: Server) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0, timeout=120) as made:
        yield made


def test_a_chat(client: OpenAI) -> None:
    said = client.chat.completions.create(messages=COUNT, max_completion_tokens=12, **FIXED)
    assert said.choices[0].message.content
    assert said.choices[0].finish_reason in {"stop", "length"}
    assert said.usage is not None and said.usage.total_tokens == said.usage.prompt_tokens + said.usage.completion_tokens


def test_a_stream_says_what_the_whole_says(client: OpenAI) -> None:
    whole = client.chat.completions.create(messages=COUNT, max_tokens=12, **FIXED).choices[0].message.content
    stream = client.chat.completions.create(
        messages=COUNT, max_tokens=12, stream=True, stream_options={"include_usage": True}, **FIXED
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens > 0


def test_a_client_may_leave_in_the_middle(client: OpenAI) -> None:
    with client.chat.completions.create(messages=COUNT, max_tokens=200, stream=True, **FIXED) as stream:
        assert next(iter(stream)).choices
    assert client.chat.completions.create(messages=COUNT, max_tokens=2, **FIXED).choices[0].message.content


def test_a_tool_is_called_and_its_result_is_used(client: OpenAI) -> None:
    said = client.chat.completions.create(
        messages=ASK_WEATHER, tools=[WEATHER], tool_choice="required", max_tokens=60, **FIXED
    ).choices[0]
    assert said.finish_reason == "tool_calls" and said.message.tool_calls
    call: Any = said.message.tool_calls[0]
    assert call.function.name == "get_weather" and isinstance(json.loads(call.function.arguments)["city"], str)
    result = {"role": "tool", "tool_call_id": call.id, "content": "22 degrees, sunny"}
    replayed = [*ASK_WEATHER, said.message.model_dump(exclude_none=True), result]
    after = client.chat.completions.create(messages=replayed, tools=[WEATHER], max_tokens=40, **FIXED)
    assert after.choices[0].message.content or after.choices[0].message.tool_calls


def test_a_named_tool_is_called_in_a_stream(client: OpenAI) -> None:
    choice: Any = {"type": "function", "function": {"name": "get_weather"}}
    with client.chat.completions.stream(
        messages=ASK_WEATHER, tools=[WEATHER], tool_choice=choice, max_tokens=60, **FIXED
    ) as stream:
        final = stream.get_final_completion().choices[0]
    assert final.finish_reason == "tool_calls" and final.message.tool_calls
    assert "city" in json.loads(final.message.tool_calls[0].function.arguments)


def test_a_strict_tool_is_called_by_its_schema_although_no_call_is_forced(client: OpenAI) -> None:
    """The city it is asked for is none that it may name."""
    city: Any = {"type": "string", "enum": ["Reykjavik", "Ushuaia"]}
    schema: Any = {"type": "object", "properties": {"city": city}, "required": ["city"], "additionalProperties": False}
    function: Any = {**WEATHER["function"], "parameters": schema, "strict": True}
    tools: Any = [{"type": "function", "function": function}]
    said = client.chat.completions.create(messages=ASK_WEATHER, tools=tools, max_tokens=80, **FIXED).choices[0]
    assert said.finish_reason == "tool_calls" and said.message.tool_calls
    call: Any = said.message.tool_calls[0]
    assert json.loads(call.function.arguments)["city"] in city["enum"]
    plain = client.chat.completions.create(messages=COUNT, tools=tools, max_tokens=12, **FIXED).choices[0]
    assert plain.message.content or plain.message.tool_calls


def test_an_answer_is_parsed_into_a_type(client: OpenAI) -> None:
    said = client.chat.completions.parse(
        messages=[{"role": "user", "content": "Ada is 36 years old. Answer in JSON with name and age."}],
        response_format=Person, max_tokens=80, **FIXED,
    )  # fmt: skip
    person = said.choices[0].message.parsed
    assert isinstance(person, Person) and person.name


def test_json_mode_gives_json(client: OpenAI) -> None:
    said = client.chat.completions.create(
        messages=[{"role": "user", "content": "Give me a JSON object with one key, a."}],
        response_format={"type": "json_object"}, max_tokens=80, **FIXED,
    )  # fmt: skip
    if said.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(said.choices[0].message.content or ""), dict)
    else:
        assert (said.choices[0].message.content or "").lstrip().startswith("{")


def test_logprobs(client: OpenAI) -> None:
    said = client.chat.completions.create(messages=COUNT, max_tokens=4, logprobs=True, top_logprobs=3, **FIXED)
    logprobs = said.choices[0].logprobs
    assert logprobs is not None and logprobs.content
    for token in logprobs.content:
        assert token.logprob <= 0 and len(token.top_logprobs) == 3
        assert token.top_logprobs[0].logprob >= token.top_logprobs[-1].logprob


def test_two_answers_to_one_question(client: OpenAI) -> None:
    said = client.chat.completions.create(model=MODEL, messages=COUNT, max_tokens=8, n=2, temperature=1)
    assert [choice.index for choice in said.choices] == [0, 1]
    assert all(choice.message.content for choice in said.choices)
    stream = client.chat.completions.create(model=MODEL, messages=COUNT, max_tokens=8, n=2, temperature=1, stream=True)
    texts = {0: "", 1: ""}
    for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert all(texts.values())


def test_a_completion(client: OpenAI) -> None:
    said = client.completions.create(prompt="1, 2, 3,", max_tokens=4, echo=True, **FIXED)
    assert said.choices[0].text.startswith("1, 2, 3,") and len(said.choices[0].text) > len("1, 2, 3,")
    streamed = client.completions.create(prompt="1, 2, 3,", max_tokens=4, stream=True, **FIXED)
    assert "1, 2, 3," + "".join(chunk.choices[0].text for chunk in streamed) == said.choices[0].text


def test_embeddings(client: OpenAI) -> None:
    """The client asks for base64 by itself and unpacks it."""
    said = client.embeddings.create(model=MODEL, input=["a cat", "a kitten", "a tax return"])
    assert [row.index for row in said.data] == [0, 1, 2]
    assert len(said.data[0].embedding) == len(said.data[2].embedding) > 100
    short = client.embeddings.create(model=MODEL, input="a cat", dimensions=64, encoding_format="float").data[0]
    assert len(short.embedding) == 64
    assert sum(value * value for value in short.embedding) == pytest.approx(1, abs=1e-3)


def test_models(client: OpenAI) -> None:
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).owned_by == "library"
    assert client.models.retrieve(f"library/{MODEL}").id == f"library/{MODEL}"


def test_a_response(client: OpenAI) -> None:
    said = client.responses.create(model=MODEL, input="Say hello", instructions="Be brief", temperature=0)
    assert said.status == "completed" and said.output_text
    assert said.usage is not None and said.usage.output_tokens > 0


def test_a_response_streams(client: OpenAI) -> None:
    with client.responses.stream(model=MODEL, input="Say hello", temperature=0, max_output_tokens=30) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created" and "response.output_text.delta" in kinds
    assert final.output_text


def test_a_response_calls_a_tool_and_takes_its_result(client: OpenAI) -> None:
    tool: Any = {"type": "function", "strict": False, **WEATHER["function"]}
    asked: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
    said = client.responses.create(
        model=MODEL, input=asked, tools=[tool], tool_choice="required", temperature=0, max_output_tokens=60
    )
    call: Any = next(item for item in said.output if item.type == "function_call")
    assert call.name == "get_weather" and "city" in json.loads(call.arguments)
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "22 degrees"}
    after = client.responses.create(
        model=MODEL, input=[*asked, call.model_dump(exclude_none=True), result], temperature=0, max_output_tokens=20
    )
    assert after.output_text


def test_a_response_is_parsed_into_a_type(client: OpenAI) -> None:
    asked = "Ada is 36 years old. Answer in JSON with name and age."
    said = client.responses.parse(model=MODEL, input=asked, text_format=Person, temperature=0, max_output_tokens=80)
    assert isinstance(said.output_parsed, Person)


def test_errors_are_the_clients_own(client: OpenAI, house: Server) -> None:
    with pytest.raises(openai.NotFoundError, match="model 'nope' not found"):
        client.chat.completions.create(model="nope", messages=COUNT)
    with pytest.raises(openai.BadRequestError, match="too short") as caught:
        client.chat.completions.create(model=MODEL, messages=[])
    assert caught.value.param == "messages"
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        client.responses.create(model=MODEL, input="hi", previous_response_id="resp_1")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nope")
    stranger = OpenAI(base_url=f"{house.url}/v1", api_key="corral_wrong", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError) as refused:
        stranger.models.list()
    assert refused.value.code == "invalid_api_key"
