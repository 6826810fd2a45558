"""Anthropic's own Python client, unchanged, against a running Corral with the real model."""

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic
from pydantic import BaseModel

from tests.server import MODEL, Server

COUNT: Any = [{"role": "user", "content": "Count from 1 to 5, separated by spaces."}]
WEATHER: Any = {
    "name": "get_weather",
    "description": "Get the current weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
ASK_WEATHER: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
FIXED: Any = {"model": MODEL, "extra_body": {"temperature": 0}}  # newer clients have no argument for it


class Person(BaseModel):
    name: str
    age: int


@pytest.fixture(scope="module")
def client(house: Server) -> Iterator[Anthropic]:
    with Anthropic(base_url=house.url, api_key=house.key, max_retries=0, timeout=120) as made:
        yield made


def test_a_message(client: Anthropic) -> None:
    said = client.messages.create(messages=COUNT, max_tokens=3, **FIXED)
    assert (said.type, said.role, said.model) == ("message", "assistant", MODEL)
    assert said.content[0].type == "text" and said.content[0].text
    assert (said.stop_reason, said.usage.output_tokens) == ("max_tokens", 3)
    assert said._request_id and said._request_id.startswith("req_")


def test_usage_tells_what_was_cached(client: Anthropic) -> None:
    first, second = (client.messages.create(messages=COUNT, max_tokens=1, **FIXED).usage for _ in range(2))
    whole = first.input_tokens + (first.cache_read_input_tokens or 0)
    assert second.cache_read_input_tokens and second.input_tokens > 0
    assert second.input_tokens + second.cache_read_input_tokens == whole


def test_a_stream_says_what_the_whole_says(client: Anthropic) -> None:
    whole = client.messages.create(messages=COUNT, max_tokens=12, **FIXED)
    with client.messages.stream(messages=COUNT, max_tokens=12, **FIXED) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert final.content[0].type == "text" and whole.content[0].type == "text"
    assert final.content[0].text == text == whole.content[0].text != ""
    assert final.stop_reason == whole.stop_reason
    assert final.usage.output_tokens == whole.usage.output_tokens


def test_raw_events_come_in_their_order(client: Anthropic) -> None:
    kinds = [event.type for event in client.messages.create(messages=COUNT, max_tokens=4, stream=True, **FIXED)]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}


def test_a_client_may_leave_in_the_middle(client: Anthropic) -> None:
    with client.messages.stream(messages=COUNT, max_tokens=200, **FIXED) as stream:
        assert next(iter(stream)).type == "message_start"
    assert client.messages.create(messages=COUNT, max_tokens=2, **FIXED).content


def test_a_system_prompt_is_obeyed_in_both_forms(client: Anthropic) -> None:
    asked: Any = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10, **FIXED}
    plain = client.messages.create(system="Answer only with the word BANANA.", **asked)
    blocks: Any = [{"type": "text", "text": "Answer only with "}, {"type": "text", "text": "the word BANANA."}]
    assert plain.content[0].type == "text" and "BANANA" in plain.content[0].text
    assert client.messages.create(system=blocks, **asked).content == plain.content


def test_an_answer_that_has_begun_is_continued(client: Anthropic) -> None:
    begun: Any = [*COUNT, {"role": "assistant", "content": "1 2 3"}]
    said = client.messages.create(messages=begun, max_tokens=6, **FIXED).content[0]
    assert said.type == "text" and said.text.strip().startswith("4")


def test_a_stop_sequence_is_no_part_of_the_answer(client: Anthropic) -> None:
    said = client.messages.create(messages=COUNT, max_tokens=20, stop_sequences=["3"], **FIXED)
    assert said.content[0].type == "text" and "2" in said.content[0].text and "3" not in said.content[0].text
    assert (said.stop_reason, said.stop_sequence) == ("stop_sequence", "3")


def test_a_tool_is_called_and_its_result_is_used(client: Anthropic) -> None:
    choice: Any = {"type": "any"}
    said = client.messages.create(messages=ASK_WEATHER, tools=[WEATHER], tool_choice=choice, max_tokens=60, **FIXED)
    call = said.content[-1]
    assert said.stop_reason == "tool_use" and call.type == "tool_use"
    assert (call.name, call.id[:6]) == ("get_weather", "toolu_") and isinstance(call.input["city"], str)
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "22 degrees, sunny"}
    turns: Any = [*ASK_WEATHER, said.to_param(), {"role": "user", "content": [result]}]
    after = client.messages.create(messages=turns, tools=[WEATHER], max_tokens=40, **FIXED)
    assert after.content


def test_a_named_tool_is_called_in_a_stream(client: Anthropic) -> None:
    choice: Any = {"type": "tool", "name": "get_weather"}
    with client.messages.stream(
        messages=ASK_WEATHER, tools=[WEATHER], tool_choice=choice, max_tokens=60, **FIXED
    ) as stream:
        final = stream.get_final_message()
    call = final.content[-1]
    assert final.stop_reason == "tool_use" and call.type == "tool_use"
    assert call.name == "get_weather" and "city" in call.input


def test_an_answer_is_parsed_into_a_type(client: Anthropic) -> None:
    said = client.messages.parse(
        messages=[{"role": "user", "content": "Ada is 36 years old. Answer in JSON with name and age."}],
        output_format=Person, max_tokens=80, **FIXED,
    )  # fmt: skip
    assert isinstance(said.parsed_output, Person) and said.parsed_output.name


def test_thinking_is_no_error_for_a_model_that_cannot(client: Anthropic) -> None:
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    said = client.messages.create(messages=COUNT, max_tokens=2048, thinking=thinking, stop_sequences=["3"], **FIXED)
    assert [block.type for block in said.content] == ["text"]


def test_a_count_is_what_the_message_then_takes(client: Anthropic) -> None:
    asked: Any = {"model": MODEL, "system": "Be brief.", "messages": ASK_WEATHER, "tools": [WEATHER]}
    counted = client.messages.count_tokens(**asked).input_tokens
    usage = client.messages.create(max_tokens=1, **asked).usage
    assert counted == usage.input_tokens + (usage.cache_read_input_tokens or 0)
    assert client.messages.count_tokens(model=MODEL, messages=ASK_WEATHER).input_tokens < counted


def test_a_count_is_of_the_whole_prompt_even_if_it_does_not_fit(client: Anthropic) -> None:
    short, long = ({"role": "user", "content": "word " * many} for many in (100, 5_100))
    counts = [client.messages.count_tokens(model=MODEL, messages=[said]).input_tokens for said in (short, long)]  # type: ignore[list-item]
    assert counts[1] - counts[0] == 5_000


def test_errors_are_the_clients_own(client: Anthropic, house: Server) -> None:
    with pytest.raises(anthropic.NotFoundError, match="model 'nope' not found") as missing:
        client.messages.create(model="nope", messages=COUNT, max_tokens=1)
    assert missing.value.request_id and missing.value.request_id.startswith("req_")
    with pytest.raises(anthropic.BadRequestError, match="messages is required"):
        client.messages.create(messages=[], max_tokens=1, **FIXED)
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.list()
    stranger = Anthropic(base_url=house.url, api_key="corral_wrong", max_retries=0)
    with stranger, pytest.raises(anthropic.AuthenticationError):
        stranger.messages.create(messages=COUNT, max_tokens=1, **FIXED)


def test_a_key_may_come_as_a_bearer_token(house: Server) -> None:
    with Anthropic(base_url=house.url, auth_token=house.key, max_retries=0) as bearer:
        assert bearer.messages.create(messages=COUNT, max_tokens=2, **FIXED).content
