"""The contract's checks of templates, thinking, tools, format, suffix and logprobs, with the real model's own words."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.ollama.checks import check
from tests.api.ollama.conftest import MODEL
from tests.api.ollama.recordings import EXCHANGES, PICTURE, body_of, shape
from tests.api.ollama.speaking import answer, chat, generate, lines

CALL_ID = re.compile(r"call_[a-z0-9]{8}")
WEATHER = EXCHANGES["chat-tools"]["request"]["body"]["tools"][0]
ASK_FOR_IT = [{"role": "user", "content": "What is the weather in Paris? Use the tool."}]
CALLING = {"options": {"num_predict": 64}, "messages": ASK_FOR_IT, "tools": [WEATHER]}
PERSON = {
    "type": "object",
    "properties": {"age": {"type": "integer"}, "available": {"type": "boolean"}},
    "required": ["age", "available"],
}
TELL = "Ollama is 22 years old and is busy saving the world. Respond using JSON"

FIM = "<|fim_prefix|>{{ .Prompt }}<|fim_suffix|>{{ .Suffix }}<|fim_middle|>"
THINK = """{{- range .Messages }}<|im_start|>{{ .Role }}
{{ if .Thinking }}<think>{{ .Thinking }}</think>
{{ end }}{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
{{ if .Think }}<think>
{{ end }}"""


@pytest.fixture(scope="module")
def able(live: httpx.Client) -> Iterator[httpx.Client]:
    """The admin's client, beside the models `fim` and `think` of section 26: the real weights with such templates."""
    for name, template in (("fim", FIM), ("think", THINK)):
        made = live.post("/api/create", json={"model": name, "from": MODEL, "template": template})
        assert made.status_code == 200, made.text
    yield live
    for name in ("fim", "think"):
        live.request("DELETE", "/api/delete", json={"model": name})


# --- Prompts ------------------------------------------------------------------------------------------------------


@check(27)
def test_a_template_with_a_suffix_fills_in(able: httpx.Client) -> None:
    body = generate(model="fim", prompt="def add(a, b):\n    return", suffix="\n\nprint(add(1, 2))\n")
    said = answer(able, "/api/generate", body)
    assert "a + b" in said["response"]
    shown = answer(able, "/api/generate", {**body, "_debug_render_only": True})["_debug_info"]["rendered_template"]
    assert shown == f"<|fim_prefix|>{body['prompt']}<|fim_suffix|>{body['suffix']}<|fim_middle|>"


@check(27)
def test_a_vocabulary_with_its_own_marks_fills_in_without_a_template(live: httpx.Client) -> None:
    body = generate(prompt="def add(a, b):\n    return", suffix="\n\nprint(add(1, 2))\n")
    assert "a + b" in answer(live, "/api/generate", body)["response"]


@check(46)
@pytest.mark.parametrize("stream", [True, False])
def test_a_template_that_is_none_is_a_500(live: httpx.Client, stream: bool) -> None:
    reply = live.post("/api/generate", json=generate(template="{{ .Prompt", stream=stream))
    assert (reply.status_code, reply.json()) == (500, body_of("generate-bad-template"))


def test_a_template_of_the_request_replaces_the_models(live: httpx.Client) -> None:
    template = "{{ .System }} USER: {{ .Prompt }} BOT: "
    body = generate(template=template, system="You only say moo.", prompt="hi", _debug_render_only=True)
    assert answer(live, "/api/generate", body)["_debug_info"] == {
        "rendered_template": "You only say moo. USER: hi BOT: "
    }
    said = answer(live, "/api/generate", {**body, "_debug_render_only": False})
    assert said["prompt_eval_count"] == 11


@pytest.mark.parametrize("name", ["generate-render-only", "chat-render-only"])
@pytest.mark.parametrize("stream", [True, False])
def test_the_prompt_is_shown_as_ollama_renders_it(live: httpx.Client, name: str, stream: bool) -> None:
    request, golden = EXCHANGES[name]["request"], body_of(name)
    reply = live.post(request["path"], json={**request["body"], "stream": stream})
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    assert shape(reply.json()) == shape(golden)
    shown = reply.json()["_debug_info"]["rendered_template"]
    assert shown[:150] == golden["_debug_info"]["rendered_template"][:150]
    assert shown.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")


@check(57)
def test_a_long_conversation_keeps_its_system_and_its_last_message(live: httpx.Client) -> None:
    words = [{"role": "user", "content": f"This is message number {n} of very many."} for n in range(200)]
    messages = [{"role": "system", "content": "You are a llama."}, *words]
    body = chat(messages=messages, options={"num_ctx": 512, "num_predict": 2})
    shown = answer(live, "/api/chat", {**body, "_debug_render_only": True})["_debug_info"]["rendered_template"]
    assert "You are a llama." in shown
    assert "message number 199 " in shown
    assert "message number 0 " not in shown
    reply = live.post("/api/chat", json=body)
    dropped = int(reply.headers["X-Corral-Dropped-Tokens"])
    last = json.loads(reply.text.splitlines()[-1])
    assert last["prompt_dropped_count"] == dropped > 1000
    assert last["prompt_eval_count"] <= 512


def test_a_long_conversation_is_refused_when_nothing_may_be_dropped(live: httpx.Client) -> None:
    words = [{"role": "user", "content": f"This is message number {n} of very many."} for n in range(200)]
    body = chat(messages=words, truncate=False, options={"num_ctx": 512, "num_predict": 2})
    reply = live.post("/api/chat", json=body)
    assert (reply.status_code, "context" in reply.json()["error"]) == (400, True)


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
def test_an_image_for_a_model_without_eyes_is_refused(live: httpx.Client, path: str) -> None:
    message = {"role": "user", "content": "what is this?", "images": [PICTURE]}
    body = generate(images=[PICTURE]) if path == "/api/generate" else chat(messages=[message])
    reply = live.post(path, json=body)
    assert (reply.status_code, reply.json()) == (400, {"error": f'"{MODEL}" does not support images'})


# --- Thinking -----------------------------------------------------------------------------------------------------


@check(29)
def test_a_thinking_model_thinks_by_itself(able: httpx.Client) -> None:
    said = answer(able, "/api/generate", generate(model="think"))
    assert said["thinking"].strip()
    assert "<think>" not in said["response"] + said["thinking"]
    talked = answer(able, "/api/chat", chat(model="think"))["message"]
    assert talked["thinking"].strip()
    assert "think>" not in talked["content"]


@check(29)
def test_thinking_streams_beside_an_empty_response(able: httpx.Client) -> None:
    *early, last = lines(able, "/api/generate", generate(model="think"))
    thoughts = [line["thinking"] for line in early if "thinking" in line]
    assert "".join(thoughts).strip()
    assert all(line["response"] == "" for line in early if "thinking" in line)
    assert (last["done"], "thinking" in last) == (True, False)


def test_a_thinking_model_can_be_told_not_to(able: httpx.Client) -> None:
    said = answer(able, "/api/generate", generate(model="think", think=False))
    assert "thinking" not in said
    assert "1" in said["response"]


# --- Tools --------------------------------------------------------------------------------------------------------


def calls_of(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [call for line in said for call in line["message"].get("tool_calls", [])]


@check(51)
def test_a_tool_is_called_in_one_piece(live: httpx.Client) -> None:
    said = answer(live, "/api/chat", chat(**CALLING))
    _check_calls(calls_of([said]))
    assert said["done_reason"] == "stop"
    assert "get_weather" not in said["message"]["content"]


@check(51)
def test_a_tool_is_called_in_a_stream(live: httpx.Client) -> None:
    said = lines(live, "/api/chat", chat(**CALLING))
    _check_calls(calls_of(said))
    assert said[-1]["done_reason"] == "stop"
    assert all(line["message"]["content"] == "" for line in said if "tool_calls" in line["message"])


def _check_calls(calls: list[dict[str, Any]]) -> None:
    assert [call["function"]["index"] for call in calls] == list(range(len(calls)))
    assert calls[0]["function"]["name"] == "get_weather"
    assert calls[0]["function"]["arguments"] == {"city": "Paris"}
    assert all(CALL_ID.fullmatch(call["id"]) for call in calls)
    assert len({call["id"] for call in calls}) == len(calls)


@check(52)
@pytest.mark.parametrize("answering", [{"tool_name": "get_weather"}, {"tool_call_id": "call_aaaaaaaa"}])
def test_a_call_and_its_answer_are_replayed(live: httpx.Client, answering: dict[str, str]) -> None:
    call = {"id": "call_aaaaaaaa", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}
    history = [
        *ASK_FOR_IT,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "11 degrees and foggy", **answering},
    ]
    body = chat(messages=history, tools=[WEATHER], options={"num_predict": 40})
    shown = answer(live, "/api/chat", {**body, "_debug_render_only": True})["_debug_info"]["rendered_template"]
    assert "11 degrees and foggy" in shown
    assert '{"city": "Paris"}' in shown
    said = answer(live, "/api/chat", body)
    assert said["message"]["content"] or said["message"]["tool_calls"]


def test_a_model_with_tools_that_just_talks_is_content(live: httpx.Client) -> None:
    said = lines(live, "/api/chat", chat(tools=[WEATHER], messages=[{"role": "user", "content": "Say hello."}]))
    assert not calls_of(said)
    assert "ello" in "".join(line["message"]["content"] for line in said)


# --- Format -------------------------------------------------------------------------------------------------------


@check(36)
def test_json_is_json(live: httpx.Client) -> None:
    prompt = "Give a JSON object with the key color for grass. Respond in JSON."
    body = generate(prompt=prompt, format="json", options={"num_predict": 60})
    assert isinstance(json.loads(answer(live, "/api/generate", body)["response"]), dict)


@check(36)
@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
def test_a_schema_is_kept(live: httpx.Client, path: str) -> None:
    fields: dict[str, Any] = {"format": PERSON, "options": {"num_predict": 60}}
    if path == "/api/generate":
        text = answer(live, path, generate(prompt=TELL, **fields))["response"]
    else:
        text = answer(live, path, chat(messages=[{"role": "user", "content": TELL}], **fields))["message"]["content"]
    said = json.loads(text)
    assert set(said) == {"age", "available"}
    assert (type(said["age"]), type(said["available"])) == (int, bool)


@check(36)
def test_a_schema_is_kept_against_the_models_will(live: httpx.Client) -> None:
    schema = {"type": "object", "properties": {"animal": {"enum": ["emu", "yak"]}}, "required": ["animal"]}
    said = answer(live, "/api/generate", generate(format=schema, options={"num_predict": 40}))["response"]
    assert json.loads(said)["animal"] in ("emu", "yak")


@check(36)
@pytest.mark.parametrize("value", ["", None])
def test_no_format_is_no_constraint(live: httpx.Client, value: Any) -> None:
    body = generate(options={"num_predict": 6})
    free = answer(live, "/api/generate", {**body, "format": value})["response"]
    assert free == answer(live, "/api/generate", body)["response"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_schema_that_cannot_be_compiled_is_refused_with_its_reason(live: httpx.Client, stream: bool) -> None:
    reply = live.post("/api/generate", json=generate(format={"type": "rabbit"}, stream=stream))
    assert (reply.status_code, "rabbit" in reply.json()["error"]) == (400, True)


def test_a_thinking_model_thinks_before_it_keeps_the_schema(able: httpx.Client) -> None:
    body = generate(model="think", prompt=TELL, format=PERSON, options={"num_predict": 40})
    assert answer(able, "/api/generate", body)["thinking"].strip()
    said = answer(able, "/api/generate", {**body, "think": False})
    assert set(json.loads(said["response"])) == {"age", "available"}


# --- Logprobs -----------------------------------------------------------------------------------------------------


@check(34)
@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
def test_logprobs_stand_beside_every_token(live: httpx.Client, path: str) -> None:
    fields: dict[str, Any] = {"logprobs": True, "top_logprobs": 2, "options": {"num_predict": 5}}
    said = lines(live, path, generate(**fields) if path == "/api/generate" else chat(**fields))
    items = [item for line in said for item in line.get("logprobs", [])]
    assert len(items) == 5
    assert "".join(item["token"] for item in items) == "".join(
        line["response"] if path == "/api/generate" else line["message"]["content"] for line in said
    )
    for item in items:
        assert item["bytes"] == list(item["token"].encode())
        assert [other["token"] for other in item["top_logprobs"]][0] == item["token"]
        assert len(item["top_logprobs"]) == 2
        assert 0 < math.exp(item["logprob"]) <= 1


@check(34)
def test_logprobs_of_a_whole_reply_are_all_of_them(live: httpx.Client) -> None:
    request = EXCHANGES["generate-logprobs"]["request"]
    said = live.post("/api/generate", json=request["body"]).json()
    golden = body_of("generate-logprobs")
    assert shape(said)[:-1] == shape(golden)[:-1]
    assert [set(item) for item in said["logprobs"]] == [set(item) for item in golden["logprobs"]]
    plain = live.post("/api/generate", json={**request["body"], "logprobs": False}).json()
    assert "logprobs" not in plain
    bare = live.post("/api/generate", json={**request["body"], "top_logprobs": 0}).json()
    assert all("top_logprobs" not in item for item in bare["logprobs"])


def test_the_question_is_answered_alike_with_and_without_what_is_asked_besides(live: httpx.Client) -> None:
    plain = answer(live, "/api/chat", chat())["message"]["content"]
    assert answer(live, "/api/chat", chat(logprobs=True))["message"]["content"] == plain
    assert answer(live, "/api/chat", chat(truncate=False, shift=False))["message"]["content"] == plain
