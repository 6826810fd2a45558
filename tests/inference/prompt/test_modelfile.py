"""Prompts by Go templates: the request's or the version's TEMPLATE over a conversation (contract, 19.2 and 19.3)."""

import json

import pytest

from apps.errors import Problem
from apps.inference.prompt.building import Builder
from apps.inference.prompt.job import Prompt, PromptJob
from apps.inference.types import Message, ToolCall
from tests.inference.prompt.words import Letters, read

OLD = "{{ if .System }}<s>{{ .System }}{{ end }}<u>{{ .Prompt }}<a>{{ .Response }}<e>"
CHAT = (
    "{{ if .System }}S={{ .System }};{{ end }}{{ range .Messages }}{{ .Role }}:{{ .Content }}"
    "{{ range .ToolCalls }}<tool_call>{{ .Function.Name }}{{ .Function.Arguments }}{{ end }}|{{ end }}a:"
)
THINKS = "{{ range .Messages }}{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ .Content }};{{ end }}"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "now & <here>",
        "parameters": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}, "a": {}}},
    },
}
HI = (Message("user", "hi"),)
TALK = (Message("system", "Be brief."), *HI, Message("assistant", "ho"), Message("user", "why"))


def chat(own: str, /, *messages: Message, num_ctx: int = 1000, **job: object) -> Prompt:
    job = {"kind": "chat", "messages": messages or HI, "num_ctx": num_ctx, "version_template": own, **job}
    return Builder(Letters("jinja")).build(PromptJob(**job))  # type: ignore[arg-type]


def generate(own: str, /, **job: object) -> Prompt:
    return chat(own, **{"kind": "generate", "messages": (), "prompt": "hi", **job})  # type: ignore[arg-type]


def test_a_version_s_template_wins_over_the_file_s() -> None:
    prompt = chat(CHAT)
    assert prompt.text == read(prompt.tokens) == "user:hi|a:"


def test_a_request_s_template_wins_over_the_version_s() -> None:
    assert generate(OLD, template="Q:{{ .Prompt }}").text == "Q:hi"


def test_a_request_s_template_works_for_a_file_without_one() -> None:
    job = PromptJob(kind="generate", prompt="hi", num_ctx=99, template="Q:{{ .Prompt }}")
    assert Builder(Letters("")).build(job).text == "Q:hi"


def test_an_old_template_is_executed_turn_by_turn_and_ends_where_the_reply_begins() -> None:
    assert chat(OLD, *TALK).text == "<s>Be brief.<u>hi<a>ho<e><u>why<a>"


def test_an_old_template_continues_a_reply_that_was_begun() -> None:
    assert chat(OLD, *HI, Message("assistant", "It is")).text == "<u>hi<a>It is"


def test_an_old_template_without_a_response_gets_one_at_its_end() -> None:
    assert chat("{{ .System }}/{{ .Prompt }}\n", *TALK).text == "Be brief./hi\nho/why\n"


def test_a_system_message_in_the_middle_of_an_old_talk_begins_a_turn() -> None:
    said = (*HI, Message("system", "Rhyme."), Message("user", "why"))
    assert chat(OLD, *said).text == "<u>hi<a><e><s>Rhyme.<u>why<a>"


def test_messages_of_one_role_are_merged_but_for_tools() -> None:
    said = (Message("user", "a"), Message("user", "b"), Message("tool", "1"), Message("tool", "2"))
    assert chat(CHAT, *said).text == "user:a\n\nb|tool:1|tool:2|a:"


def test_system_messages_stay_in_the_list_and_are_joined_in_system() -> None:
    said = (Message("system", "A"), Message("user", "x"), Message("system", "B"))
    assert chat(CHAT, *said).text == "S=A\n\nB;system:A|user:x|system:B|a:"


def test_a_template_with_messages_sees_a_reply_that_was_begun() -> None:
    assert chat(CHAT, *HI, Message("assistant", "It is")).text == "user:hi|assistant:It is|a:"


def test_generate_speaks_through_messages_too() -> None:
    stored = (Message("user", "1+1?"), Message("assistant", "2"))
    prompt = generate(CHAT, version_system="Be brief.", stored=stored)
    assert prompt.text == "S=Be brief.;system:Be brief.|user:1+1?|assistant:2|user:hi|a:"


def test_tools_print_as_the_json_that_was_sent() -> None:
    text = chat(
        "{{ .Tools }}\n{{ range .Tools }}{{ .Function.Name }}={{ .Function }}{{ end }}{{ .Messages }}", tools=(TOOL,)
    ).text
    first, second = text.split("\n")
    assert json.loads(first) == [TOOL]
    assert "now \\u0026 \\u003chere\\u003e" in first
    assert list(json.loads(first)[0]["function"]["parameters"]["properties"]) == ["city", "a"]
    assert second.startswith('get_weather={"name":"get_weather","description":')


def test_every_field_of_a_tool_can_be_named_and_properties_keep_their_order() -> None:
    template = (
        "{{ range .Messages }}{{ end }}{{ range .Tools }}{{ .Type }} {{ .Function.Description }} "
        "{{ .Function.Parameters.Type }} {{ .Function.Parameters.Required }}"
        "{{ range $k, $v := .Function.Parameters.Properties }} {{ $k }}:{{ $v.Type }}{{ $v.Description }}"
        "{{ $v.Enum }}{{ end }}{{ end }}"
    )
    assert chat(template, tools=(TOOL,)).text == "function now & <here> object [city] city:string[] a:[]"


def test_calls_and_answers_of_tools_are_rendered() -> None:
    call = Message("assistant", tool_calls=(ToolCall("get_weather", {"city": "Rom", "b": 1}, "call_1"),))
    answer = Message("tool", "sun", tool_name="get_weather", tool_call_id="call_1")
    template = CHAT + "{{ range .Messages }}{{ .ToolName }}{{ .ToolCallID }}{{ json .ToolCalls }}{{ end }}"
    text = chat(template, *HI, call, answer).text
    assert text.startswith('user:hi|assistant:<tool_call>get_weather{"city":"Rom","b":1}|tool:sun|a:')
    assert '"function":{"index":0,"name":"get_weather","arguments":{"city":"Rom","b":1}}' in text
    assert text.endswith("get_weathercall_1[]")


def test_a_choice_of_no_tool_offers_none() -> None:
    prompt = chat(CHAT + "{{ .Tools }}", tools=(TOOL,), tool_choice="none")
    assert prompt.text == "user:hi|a:[]"
    assert prompt.reply is not None
    assert prompt.reply.tools == ()


@pytest.mark.parametrize(
    ("think", "said"),
    [(None, "false,,false"), (False, "false,,true"), (True, "true,medium,true"), ("low", "true,low,true")],
)
def test_how_much_to_think_reaches_the_template(think: bool | str | None, said: str) -> None:
    template = "{{ .Prompt }}{{ .Think }},{{ .ThinkLevel }},{{ .IsThinkSet }}{{ .Response }}"
    assert generate(template, think=think).text == "hi" + said


def test_earlier_thoughts_are_replayed_and_the_reply_s_tags_are_told() -> None:
    said = (*HI, Message("assistant", "ho", thinking="hm"), Message("user", "why"))
    prompt = chat(THINKS, *said, think=True)
    assert prompt.text == "hi;<think>hm</think>ho;why;"
    assert prompt.reply is not None
    assert prompt.reply.thinking == ("<think>", "</think>")
    assert not prompt.reply.thinks_already


def test_a_template_that_opens_the_thinking_itself_is_noticed() -> None:
    reply = chat(THINKS + "<think>\n", think=True).reply
    assert reply is not None
    assert reply.thinks_already


def test_thoughts_in_earlier_replies_of_qwen_3_are_taken_out() -> None:
    said = (*HI, Message("assistant", "<think>\nhm\n</think>\n\nho"), Message("user", "why"))
    job = PromptJob(kind="chat", num_ctx=99, messages=said, version_template=CHAT)
    assert Builder(Letters("x", architecture="qwen3")).build(job).text == "user:hi|assistant:ho|user:why|a:"
    assert "hm" in Builder(Letters("x")).build(job).text


def test_a_template_that_does_not_parse_is_a_500_with_go_s_text() -> None:
    with pytest.raises(Problem, match="unclosed action") as caught:
        generate(OLD, template="{{ .Prompt")
    assert caught.value.status == 500


def test_a_field_that_a_message_lacks_is_a_500_with_go_s_text() -> None:
    with pytest.raises(Problem, match="can't evaluate field Nothing") as caught:
        chat("{{ range .Messages }}{{ .Nothing }}{{ end }}")
    assert caught.value.status == 500


def test_a_go_loop_that_would_not_end_is_refused_and_the_next_job_is_served() -> None:
    builder = Builder(Letters("x"))
    hostile = '{{ define "x" }}{{ template "x" . }}{{ end }}{{ template "x" . }}{{ .Prompt }}'
    with pytest.raises(Problem) as caught:
        builder.build(PromptJob(kind="generate", prompt="hi", num_ctx=99, template=hostile))
    assert caught.value.status == 500
    assert builder.build(PromptJob(kind="generate", prompt="hi", num_ctx=99, template="{{ .Prompt }}")).text == "hi"


def test_messages_are_dropped_for_go_templates_as_for_others() -> None:
    said = tuple(Message(("user", "assistant")[n % 2], f"{n:03}") for n in range(9))
    prompt = chat(CHAT, Message("system", "!"), *said, num_ctx=40)
    assert prompt.text == "S=!;system:!|assistant:007|user:008|a:"
    assert prompt.dropped_messages == 7
    assert prompt.dropped_tokens > 0


def test_only_the_version_s_own_template_is_shared_between_users() -> None:
    shared = chat(CHAT, version_system="Be brief.", template=CHAT)
    assert read(shared.tokens[: shared.public_tokens]) == "S=Be brief.;system:Be brief.|user:"
    assert chat(CHAT, version_system="Be brief.", template=CHAT + " ").public_tokens == 0
