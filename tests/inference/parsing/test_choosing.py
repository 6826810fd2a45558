"""How a model writes, told from its template."""

from typing import Any

import pytest

from apps.inference.parsing import Reply, choose, markers
from tests.inference.parsing.replies import PARIS, read

MARKS = [
    ("hermes", "return a json object within <tool_call></tool_call> tags"),
    ("xml", "<tool_call>\n<function=example>\n<parameter=one>"),
    ("glm", "<tool_call>{name}\n<arg_key>{key}</arg_key>"),
    ("llama3", "{{- '<|python_tag|>' + tool_call.name }}"),
    ("llama3", '<|start_header_id|>assistant {"name": function name, "parameters": dictionary}'),
    ("mistral", "{{- '[TOOL_CALLS][' }}"),
    ("deepseek", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>"),
    ("harmony", "<|start|>assistant<|channel|>final<|message|>"),
    ("gemma", "<start_of_turn>model"),
    ("gemma", "<start_function_call>call:"),
    ("json", "<|im_start|>assistant"),
]
GO_QWEN3 = """{{ range $i, $_ := .Messages }}{{ if eq .Role "assistant" }}<|im_start|>assistant
{{ if (and $.IsThinkSet (and .Thinking (or $last (gt $i $lastUserIdx)))) -}}
<think>
{{ .Thinking }}
</think>
{{ end -}}
{{ if .Content }}{{ .Content }}{{ end }}{{ if .ToolCalls }}<tool_call>
{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
{{ end }}</tool_call>{{ end }}{{ end }}{{ end }}"""
GO_LLAMA = """{{- if .ToolCalls }}
{{- range .ToolCalls }}
{"name": "{{ .Function.Name }}", "parameters": {{ .Function.Arguments }}}{{ end }}{{- end }}"""


def chosen(template: str, *, go: bool = False, **more: Any) -> Reply:
    given: dict[str, Any] = {"tools": ["get_weather"], "think": None, "prompt_tail": "", "forced": False}
    return choose(template, go=go, **{**given, **more})


@pytest.mark.parametrize(("calls", "template"), MARKS)
def test_the_marks_in_a_template_tell_the_format(calls: str, template: str) -> None:
    assert chosen(template).calls == calls


@pytest.mark.parametrize(("calls", "template"), MARKS)
def test_without_tools_nothing_is_read_but_channels(calls: str, template: str) -> None:
    reply = chosen(template, tools=[])
    assert (reply.calls, reply.plain) == (("harmony", False) if calls == "harmony" else ("", True))


def test_thinking_is_split_off_unless_it_is_switched_off() -> None:
    template = "{{ content.split('</think>')[-1] }}<think>"
    assert [chosen(template, think=think).thinking for think in (None, True, "low", False)] == [
        ("<think>", "</think>"),
        ("<think>", "</think>"),
        ("<think>", "</think>"),
        None,
    ]


def test_a_prompt_may_end_inside_the_thinking() -> None:
    template = "<think></think>"
    assert chosen(template, prompt_tail="<|im_start|>assistant\n<think>\n").thinks_already
    assert not chosen(template, prompt_tail="<think>\n\n</think>\n\n").thinks_already
    assert not chosen(template, prompt_tail="<think>\n", think=False).thinks_already


def test_a_go_template_tells_its_thinking_tags() -> None:
    reply = chosen(GO_QWEN3, go=True, prompt_tail="assistant\n<think>\n")
    assert (reply.thinking, reply.thinks_already, reply.calls) == (("<think>", "</think>"), True, "hermes")
    assert chosen("{{ .Prompt }}<think></think>", go=True).thinking is None


def test_a_go_template_tells_a_tag_of_its_own() -> None:
    reply = chosen(GO_QWEN3.replace("tool_call>", "do>"), go=True, think=False)
    assert (reply.calls, reply.call_tag) == ("json", "<do>")
    assert read(reply, '<do>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</do>') == ([PARIS],)


def test_a_go_template_without_a_tag_writes_one_object() -> None:
    reply = chosen(GO_LLAMA, go=True)
    assert (reply.calls, reply.call_tag) == ("json", "{")
    assert read(reply, '{"name": "get_weather", "parameters": {"city": "Paris"}}') == ([PARIS],)


def test_forced_calls_are_read_as_bare_json() -> None:
    reply = chosen(GO_QWEN3, go=True, forced=True)
    assert (reply.calls, reply.call_tag, reply.forced) == ("json", "", True)


def test_forced_calls_of_channels_come_behind_the_analysis() -> None:
    reply = chosen("<|channel|><|message|>", forced=True)
    text = '<|channel|>analysis<|message|>hm<|end|>{"name": "get_weather", "arguments": {"city": "Paris"}}'
    assert read(reply, text) == (("thought", "hm"), [PARIS])


def test_channels_say_where_a_grammar_may_begin() -> None:
    template = "<|channel|><|message|>"
    assert chosen(template).thinking == ("<|channel|>analysis<|message|>", "<|end|>")
    assert chosen(template, think=False).thinking is None


def test_control_tokens_of_a_format_are_named() -> None:
    assert markers(Reply()) == markers(Reply("json", ("now",))) == ()
    assert markers(Reply("llama3", ("now",)))[0] == "<|python_tag|>"
    assert {"[TOOL_CALLS]", "[ARGS]"} <= set(markers(Reply("mistral", ("now",))))
    assert {"<｜tool▁calls▁begin｜>", "<｜tool▁sep｜>"} <= set(markers(Reply("deepseek", ("now",))))
    assert {"<|channel|>", "<|message|>", "<|end|>"} <= set(markers(Reply("harmony")))
    assert markers(Reply(thinking=("<|channel>thought", "<channel|>"))) == ("<|channel>", "<channel|>")
    assert markers(Reply("mistral", ("now",), forced=True)) == ()


def test_parameters_that_take_text_are_told_from_the_definitions() -> None:
    properties = {"zip": {"type": "string"}, "days": {"type": "integer"}, "any": {}}
    definition = {"function": {"name": "get_weather", "parameters": {"type": "object", "properties": properties}}}
    reply = chosen("<function=<parameter=", definitions=[definition])
    assert reply.texts == ("get_weather.zip",)
    text = "<function=get_weather><parameter=zip>00185</parameter><parameter=days>5</parameter></function>"
    assert read(reply, text) == ([("get_weather", {"zip": "00185", "days": 5})],)
