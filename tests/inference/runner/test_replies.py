"""A runner with the real model: its calls, its thinking and its logprobs as frames."""

import json
from typing import Any

from apps.inference.parsing import Reply
from tests.inference.runner.conftest import Runner, Tokenise

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
# As the model's own template writes it.
TOOLS = f"""<|im_start|>system
You are Qwen, created by Alibaba Cloud. You are a helpful assistant.

# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{json.dumps(WEATHER)}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call><|im_end|>
<|im_start|>user
What is the weather in Paris? Use the tool.<|im_end|>
<|im_start|>assistant
"""
HERMES = Reply("hermes", ("get_weather",))
STORY = "<|im_start|>user\nTell me a joke.<|im_end|>\n<|im_start|>assistant\n"


def frames(runner: Runner, tokens: list[int], **more: Any) -> list[tuple[str, dict[str, Any]]]:
    run = runner.start(tokens, **{"limits": {"num_predict": 64}, **more})
    end = runner.wait("ended", run)
    assert end["error"] is None
    return [(entry.kind, entry.data) for entry in runner.log.entries(run)]


def test_a_call_without_tags_is_a_call(loaded: Runner, tokenise: Tokenise) -> None:
    [(kind, data)] = frames(loaded, tokenise(TOOLS), reply=HERMES.as_data())
    assert kind == "tool_calls"
    assert [(call["name"], call["arguments"]) for call in data["calls"]] == [("get_weather", {"city": "Paris"})]


def test_without_a_reply_a_call_is_text(loaded: Runner, tokenise: Tokenise) -> None:
    found = frames(loaded, tokenise(TOOLS), limits={"num_predict": 4})
    assert {kind for kind, _ in found} == {"text"}
    assert "".join(data["t"] for _, data in found).strip()


def test_a_forced_call_comes_whatever_was_asked(loaded: Runner, tokenise: Tokenise) -> None:
    reply = Reply("json", ("get_weather",), forced=True)
    grammar = {"kind": "tools", "tools": [WEATHER], "choice": "get_weather"}
    found = frames(loaded, tokenise(STORY), reply=reply.as_data(), grammar=grammar)
    assert [kind for kind, _ in found] == ["tool_calls"]
    [call] = found[0][1]["calls"]
    assert call["name"] == "get_weather" and isinstance(call["arguments"]["city"], str)


def test_thinking_that_the_prompt_began_is_thinking(loaded: Runner, tokenise: Tokenise) -> None:
    reply = Reply(thinking=("<think>", "</think>"), thinks_already=True)
    found = frames(loaded, tokenise(STORY + "<think>\n"), reply=reply.as_data(), limits={"num_predict": 8})
    assert {kind for kind, _ in found} == {"thinking"}
    assert "".join(data["t"] for _, data in found).strip()


def test_logprobs_are_those_of_the_tokens_in_order(loaded: Runner, tokenise: Tokenise) -> None:
    found = frames(loaded, tokenise(STORY), logprobs=2, limits={"num_predict": 6})
    items = [item for _, data in found for item in data["lp"]]
    assert "".join(item["token"] for item in items) == "".join(data["t"] for _, data in found)
    assert len(items) == 6 and all(len(item["top"]) == 2 and item["logprob"] <= 0 for item in items)


def test_logprobs_of_a_call_come_too(loaded: Runner, tokenise: Tokenise) -> None:
    found = frames(loaded, tokenise(TOOLS), logprobs=0, reply=HERMES.as_data())
    said = "".join(item["token"] for _, data in found for item in data.get("lp", ()))
    assert found[-1][0] == "tool_calls" and '"name": "get_weather"' in said
