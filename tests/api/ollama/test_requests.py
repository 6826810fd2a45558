"""Bodies of generate and chat to the one request of inference, without a server: what is asked for is planned."""

import base64
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from apps.api.ollama import requests
from apps.api.ollama.bodies import ChatRequest, GenerateRequest
from apps.api.ollama.decode import decode
from apps.errors import Problem
from apps.inference.types import Format, LoadOptions, Message, Request, ToolCall
from apps.registry.resolve import Version

ALL = ("completion", "tools", "insert", "vision", "thinking")
PLAIN = Version(
    typed="m",
    name="m:latest",
    canonical="registry.ollama.ai/library/m:latest",
    digest="0" * 64,
    weights="sha256:" + "0" * 64,
    weights_size=1,
    system="",
    messages=(),
    params={},
    template="",
    capabilities=("completion",),
    info={"general.architecture": "qwen2"},
)
ABLE = replace(PLAIN, capabilities=ALL)
WEATHER = {
    "function": {
        "description": "Get the weather of a city",
        "name": "get_weather",
        "parameters": {
            "required": ["city"],
            "type": "object",
            "properties": {
                "zone": {"enum": ["a", 1, None], "type": ["string"]},
                "city": {"description": "the city", "type": ["string", "null"]},
                "days": {"items": {"minimum": 1, "type": "integer"}, "type": "array"},
                "near": {"anyOf": [{"type": "object", "properties": {"b": {}, "a": {}}, "required": ["b"]}]},
            },
            "$defs": {"x": {"any": "thing"}},
        },
    },
    "type": "function",
}


def drawn(kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (0, 128, 0)).save(file, kind)
    return file.getvalue()


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


PICTURE = text(drawn())


def generated(version: Version = ABLE, **fields: Any) -> Request:
    body = json.dumps({"model": "m", "prompt": "hi", **fields}).encode()
    return requests.generate(decode(GenerateRequest, body), version)


def chatted(version: Version = ABLE, **fields: Any) -> Request:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}).encode()
    return requests.chat(decode(ChatRequest, body), version)


def refused(status: int, sentence: str, make: Any, *arguments: Any, **fields: Any) -> None:
    with pytest.raises(Problem) as raised:
        make(*arguments, **fields)
    assert (raised.value.status, raised.value.message) == (status, sentence)


def test_a_bare_question_asks_for_nothing_else() -> None:
    plan = generated(PLAIN)
    assert plan == Request(kind="generate", prompt="hi")
    assert chatted(PLAIN) == Request(kind="chat", messages=(Message("user", "hi"),))
    assert Request.from_data(json.loads(json.dumps(plan.as_data()))) == plan


def test_every_field_of_generate_has_its_place() -> None:
    plan = generated(
        template="{{ .Prompt }}", suffix="end", system="s", context=[1, 2], images=[PICTURE], think="low",
        format={"type": "object", "properties": {"b": {}, "a": {}}}, logprobs=True, top_logprobs=3, truncate=False,
        shift=False, keep_alive="10m", options={"num_ctx": 512, "seed": 3, "num_predict": 4}, _debug_render_only=True,
    )  # fmt: skip
    assert (plan.template, plan.suffix, plan.system, plan.context) == ("{{ .Prompt }}", "end", "s", (1, 2))
    assert (plan.images, plan.think, plan.logprobs, plan.render_only) == ((PICTURE,), "low", 3, True)
    assert plan.format is not None and plan.format.schema is not None
    assert (plan.format.kind, list(plan.format.schema["properties"])) == ("schema", ["b", "a"])
    assert (plan.limits.truncate, plan.limits.shift, plan.limits.num_predict) == (False, False, 4)
    assert (plan.keep_alive, plan.load, plan.sampling.seed) == (600.0, LoadOptions(num_ctx=512), 3)
    assert Request.from_data(json.loads(json.dumps(plan.as_data()))) == plan


def test_every_field_of_a_message_has_its_place() -> None:
    calls = [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": {"b": 1, "a": [None]}}}]
    plan = chatted(
        messages=[
            {"role": "USER", "content": "look", "images": [PICTURE, text(drawn("JPEG"))]},
            {"role": "assistant", "thinking": "hm", "tool_calls": [*calls, {"function": {"name": "g", "index": 1}}]},
            {"role": "tool", "content": "11", "tool_name": "f", "tool_call_id": "call_1"},
        ]
    )
    assert plan.messages == (
        Message("user", "look", images=(PICTURE, text(drawn("JPEG")))),
        Message(
            "assistant", thinking="hm", tool_calls=(ToolCall("f", {"b": 1, "a": [None]}, "call_1"), ToolCall("g")),
        ),
        Message("tool", "11", tool_name="f", tool_call_id="call_1"),
    )  # fmt: skip
    assert list(plan.messages[1].tool_calls[0].arguments) == ["b", "a"]
    assert Request.from_data(json.loads(json.dumps(plan.as_data()))) == plan


# --- Tools --------------------------------------------------------------------------------------------------------


def test_a_tool_keeps_its_order_and_loses_what_ollama_has_no_field_for() -> None:
    strange = {**WEATHER, "strict": True, "function": {**WEATHER["function"], "deprecated": False}}
    (tool,) = chatted(tools=[strange]).tools
    near = {"anyOf": [{"type": "object", "properties": {"b": {}, "a": {}}, "required": ["b"]}]}
    wanted = {
        "function": {
            "description": "Get the weather of a city",
            "name": "get_weather",
            "parameters": {
                "required": ["city"],
                "type": "object",
                "properties": {
                    "zone": {"enum": ["a", 1, None], "type": "string"},
                    "city": {"description": "the city", "type": ["string", "null"]},
                    "days": {"items": {"minimum": 1, "type": "integer"}, "type": "array"},
                    "near": near,
                },
                "$defs": {"x": {"any": "thing"}},
            },
        },
        "type": "function",
    }
    assert json.dumps(tool) == json.dumps(wanted)


@pytest.mark.parametrize("keyword", ["minimum", "default", "format", "additionalProperties", "title"])
def test_an_unknown_keyword_of_a_property_is_dropped(keyword: str) -> None:
    properties = {"n": {"type": "integer", keyword: 1}, "plain": {keyword: {}}}
    function = {"name": "f", "parameters": {"type": "object", keyword: 5, "properties": properties}}
    (tool,) = chatted(tools=[{"type": "function", "function": function}]).tools
    assert tool["function"]["parameters"] == {"type": "object", "properties": {"n": {"type": "integer"}, "plain": {}}}


def test_names_in_a_tool_are_read_without_case_and_null_is_absent() -> None:
    (tool,) = chatted(tools=[{"TYPE": "function", "Function": {"NAME": "f", "description": None}}]).tools
    assert tool == {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize("sent", [{}, None, {"function": None}, {"type": "function", "function": {}}])
def test_a_tool_of_nothing_still_has_what_templates_count_on(sent: Any) -> None:
    assert chatted(tools=[sent]).tools == ({"type": "function", "function": {"name": ""}},)


@pytest.mark.parametrize(
    ("tool", "sentence"),
    [
        (5, "number into ChatRequest.tools.0 of type api.Tool"),
        ({"function": "f"}, "string into ChatRequest.tools.0.function of type api.ToolFunction"),
        ({"function": {"name": 5}}, "number into ChatRequest.tools.0.function.name of type string"),
        (
            {"function": {"parameters": {"required": "city"}}},
            "string into ChatRequest.tools.0.function.parameters.required of type []string",
        ),
        (
            {"function": {"parameters": {"properties": {"a": {"type": 1}}}}},
            "number into ChatRequest.tools.0.function.parameters.properties.a.type of type []string",
        ),
        (
            {"function": {"parameters": {"properties": {"a": {"enum": 1}}}}},
            "number into ChatRequest.tools.0.function.parameters.properties.a.enum of type []interface {}",
        ),
    ],
)
def test_a_tool_of_another_type_is_refused(tool: Any, sentence: str) -> None:
    refused(400, f"json: cannot unmarshal {sentence}", chatted, tools=[tool])


@pytest.mark.parametrize("levels", [60, 300, 3000])
def test_a_tool_that_holds_itself_too_often_is_refused(levels: int) -> None:
    deep = '{"properties":{"a":' * levels + "{}" + "}}" * levels
    body = '{"model":"m","messages":[],"tools":[{"function":{"parameters":' + deep + "}}]}"
    if levels == 60:
        assert decode(ChatRequest, body.encode()).tools
        return
    refused(400, "exceeded max depth", decode, ChatRequest, body.encode())


def test_tools_need_the_capability_and_no_tools_do_not() -> None:
    assert chatted(PLAIN, tools=[]).tools == chatted(PLAIN, tools=None).tools == ()
    refused(400, f"{PLAIN.canonical} does not support tools", chatted, PLAIN, tools=[WEATHER])


def test_a_suffix_needs_a_template_for_it_or_a_vocabulary_that_may_have_marks() -> None:
    refused(400, f"{PLAIN.canonical} does not support insert", generated, PLAIN, suffix="x")
    unknown = replace(PLAIN, info={**PLAIN.info, "tokenizer.ggml.model": "gpt2"})
    assert generated(unknown, suffix="x").suffix == generated(ABLE, suffix="x").suffix == "x"


# --- Thinking -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "planned"), [(None, True), (True, True), (False, False), ("low", "low"), ("max", "max")]
)
def test_a_thinking_model_thinks_unless_it_is_told_not_to(asked: Any, planned: Any) -> None:
    assert generated(think=asked).think == chatted(think=asked).think == planned


def test_another_model_may_be_told_not_to_think_and_nothing_else() -> None:
    assert (generated(PLAIN).think, generated(PLAIN, think=False).think) == (None, False)
    for level in (True, "low", "max"):
        refused(400, '"m" does not support thinking', generated, PLAIN, think=level)


@pytest.mark.parametrize("family", ["gptoss", "gpt-oss"])
def test_the_highest_level_of_harmony_is_high(family: str) -> None:
    harmony = replace(ABLE, info={"general.architecture": family})
    assert [generated(harmony, think=level).think for level in ("max", "high", "low", True)] == [
        "high", "high", "low", True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "family"), [("m:latest", "qwen3"), ("deepseek-r1:1.5b", "qwen2"), ("bob/DeepSeek-R1:latest", "qwen2")]
)
def test_models_whose_first_template_could_not_think_say_how_to_get_the_new_one(name: str, family: str) -> None:
    old = replace(PLAIN, name=name, info={"general.architecture": family})
    words = '"m" does not support thinking. Pull the model again to get the latest version with full thinking support'
    refused(400, words, generated, old, think=True)


# --- Format, logprobs, limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "planned"),
    [
        (None, None),
        ("", None),
        ("json", Format("json")),
        ({}, Format("schema", {})),
        ({"type": "array"}, Format("schema", {"type": "array"})),
    ],
)
def test_a_format_is_json_or_a_schema(sent: Any, planned: Format | None) -> None:
    assert generated(PLAIN, format=sent).format == chatted(PLAIN, format=sent).format == planned


@pytest.mark.parametrize(
    ("sent", "quoted"),
    [("xml", '"\\"xml\\""'), (5, '"5"'), ([], '"[]"'), (False, '"false"'), (0, '"0"'), ("JSON", '"\\"JSON\\""')],
)
def test_any_other_format_is_the_contracts_500(sent: Any, quoted: str) -> None:
    words = f'invalid format: {quoted}; expected "json" or a valid JSON Schema object'
    refused(500, words, generated, PLAIN, format=sent)
    refused(500, words, chatted, PLAIN, format=sent)


@pytest.mark.parametrize(
    ("fields", "planned"),
    [
        ({}, None),
        ({"top_logprobs": 5}, None),
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": 20}, 20),
    ],
)
def test_logprobs_have_to_be_asked_for(fields: dict[str, Any], planned: int | None) -> None:
    assert generated(**fields).logprobs == chatted(**fields).logprobs == planned


def test_the_window_slides_unless_the_caller_or_the_family_says_no() -> None:
    deepseek = replace(PLAIN, info={"general.architecture": "deepseek2"})
    asked = (None, True, False)
    assert [generated(PLAIN, shift=shift).limits.shift for shift in asked] == [True, True, False]
    assert [generated(deepseek, shift=shift).limits.shift for shift in asked] == [False, True, False]


# --- Images -------------------------------------------------------------------------------------------------------


def test_images_need_eyes() -> None:
    message = {"role": "user", "content": "what is this?", "images": [PICTURE]}
    refused(400, '"m" does not support images', generated, PLAIN, images=[PICTURE])
    refused(400, '"m" does not support images', chatted, PLAIN, messages=[message])
    assert generated(PLAIN, images=[]).images == generated(PLAIN, images=["", None]).images == ()


def test_images_of_several_messages_stay_with_their_messages() -> None:
    webp = text(drawn("WEBP"))
    plan = chatted(
        messages=[{"role": "user", "images": [PICTURE, webp]}, {"role": "user"}, {"role": "user", "images": [PICTURE]}]
    )
    first, second, third = (message.images for message in plan.messages)
    assert (first[0], len(first), second, third) == (PICTURE, 2, (), (PICTURE,))
    with Image.open(io.BytesIO(base64.b64decode(first[1]))) as image:
        assert image.format == "PNG"


def test_a_broken_image_and_too_many_of_them_are_refused_in_a_sentence() -> None:
    words = "an image could not be read: send a whole PNG, JPEG, WebP or GIF"
    refused(400, words, generated, images=[PICTURE, "aGVsbG8="])
    refused(400, "a request may have 100 images at most", generated, images=[PICTURE] * 101)


# --- Order --------------------------------------------------------------------------------------------------------


def test_what_is_wrong_first_is_told_first() -> None:
    """Raw, thinking, completion, insert, options, images, format: the contract's order, the model's reasons first."""
    emb = replace(PLAIN, capabilities=("embedding",))
    everything = {"raw": True, "system": "s", "think": True, "suffix": "x", "options": {"stop": "x"}, "format": 5}
    raw = "raw mode does not support template, system, or context"
    refused(400, raw, generated, emb, **everything)
    everything["raw"] = False
    refused(400, '"m" does not support thinking', generated, emb, **everything)
    everything["think"] = None
    refused(400, '"m" does not support generate', generated, emb, **everything)
    refused(400, f"{PLAIN.canonical} does not support insert", generated, PLAIN, **everything)
    everything["suffix"] = ""
    refused(500, 'option "stop" must be of type array', generated, PLAIN, **everything, images=[PICTURE])
    everything["options"] = {}
    refused(400, '"m" does not support images', generated, PLAIN, **everything, images=[PICTURE])


def test_an_empty_prompt_is_checked_for_what_the_model_can_and_no_more() -> None:
    assert generated(PLAIN, prompt="", format=5, images=[PICTURE]) == Request(kind="generate")
    assert chatted(PLAIN, messages=[], format=5) == Request(kind="chat")
    refused(400, f"{PLAIN.canonical} does not support insert", generated, PLAIN, prompt="", suffix="x")


def test_the_vision_model_that_ollama_gave_up_is_given_up_in_its_words() -> None:
    old = replace(ABLE, info={"general.architecture": "mllama"}, projectors=("sha256:1",))
    refused(500, requests.OLD_VISION, generated, old)


def test_the_same_family_takes_one_image_a_message() -> None:
    family = replace(ABLE, info={"general.architecture": "mllama"})
    assert generated(family, images=[PICTURE]).images == (PICTURE,)
    refused(500, requests.ONE_IMAGE, generated, family, images=[PICTURE, PICTURE])
