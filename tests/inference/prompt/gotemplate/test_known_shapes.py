"""Renderings of the shapes that well-known models' templates have, over chats with tools and replies of tools."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from apps.inference.prompt.gotemplate import Struct, Template


class Printed(dict[str, Any]):
    """Fields that print as JSON, as tools and arguments do."""

    def __init__(self, fields: dict[str, Any], source: Any) -> None:
        super().__init__(fields)
        self.source = source

    def __str__(self) -> str:
        return json.dumps(self.source, separators=(",", ":"))


class Tools(list[Any]):
    def __str__(self) -> str:
        return "[" + ",".join(map(str, self)) + "]"


def message(role: str, content: str = "", **fields: Any) -> Struct:
    known = {"Thinking": "", "Images": [], "ToolCalls": [], "ToolName": "", "ToolCallID": ""}
    return Struct({"Role": role, "Content": content, **known, **fields}, "api.Message")


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"ID": "call_1", "Function": {"Index": 0, "Name": name, "Arguments": Printed(arguments, arguments)}}


FUNCTION = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
TOOL = Printed({"Type": "function", "Function": Printed({"Name": "weather"}, FUNCTION)}, {"function": FUNCTION})
SHOWN = '{"name":"weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}'

CHAT = [message("system", "Be brief."), message("user", "hi"), message("assistant", "hello"), message("user", "bye")]
ASKED = [message("user", "Rain?"), message("assistant", ToolCalls=[call("weather", city="Rome")])]
TALK = [*ASKED, message("tool", "dry", ToolName="weather")]

CHATML = """{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""

LLAMA3 = """{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>

{{ .Content }}<|eot_id|>
{{- end }}<|start_header_id|>assistant<|end_header_id|>

"""

MISTRAL = """{{- range $i, $_ := .Messages }}
{{- if eq .Role "user" }}
{{- if and $.Tools (le (len (slice $.Messages $i)) 3) }}[AVAILABLE_TOOLS] {{ $.Tools }}[/AVAILABLE_TOOLS]
{{- end }}[INST] {{ if and $.System (eq (len (slice $.Messages $i)) 1) }}{{ $.System }}

{{ end }}{{ .Content }}[/INST]
{{- else if eq .Role "assistant" }}
{{- if .Content }} {{ .Content }}</s>
{{- else if .ToolCalls }}[TOOL_CALLS] [
{{- range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
{{- end }}]</s>
{{- end }}
{{- else if eq .Role "tool" }}[TOOL_RESULTS] {"content": {{ .Content }}} [/TOOL_RESULTS]
{{- end }}
{{- end }}"""

QWEN = """{{- if or .System .Tools }}<|im_start|>system
{{ .System }}
{{- if .Tools }}

<tools>
{{- range .Tools }}
{"type": "function", "function": {{ .Function }}}
{{- end }}
</tools>
{{- end }}<|im_end|>
{{ end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 -}}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ if .Content }}{{ .Content }}
{{- else if .ToolCalls }}<tool_call>
{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
{{ end }}</tool_call>
{{- end }}{{ if not $last }}<|im_end|>
{{ end }}
{{- else if eq .Role "tool" }}<|im_start|>user
<tool_response>
{{ .Content }}
</tool_response><|im_end|>
{{ end }}
{{- if and (ne .Role "assistant") $last }}<|im_start|>assistant
{{ end }}
{{- end }}"""

GEMMA = """{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if or (eq .Role "user") (eq .Role "system") }}<start_of_turn>user
{{ .Content }}<end_of_turn>
{{ if $last }}<start_of_turn>model
{{ end }}
{{- else if eq .Role "assistant" }}<start_of_turn>model
{{ .Content }}{{ if not $last }}<end_of_turn>
{{ end }}
{{- end }}
{{- end }}"""

DEEPSEEK = """{{- if .System }}{{ .System }}{{ end }}
{{- range $i, $m := .Messages }}
{{- if eq $m.Role "user" }}<User>{{ $m.Content }}
{{- else if eq $m.Role "assistant" }}<Assistant>
{{- if and $m.Thinking $.IsThinkSet }}<think>
{{ $m.Thinking }}
</think>
{{ end }}{{ $m.Content }}<end>
{{- end }}
{{- end }}<Assistant>{{ if and .IsThinkSet (not .Think) }}<think>

</think>

{{ end }}"""

COMMAND_R = """{{- define "turn" }}<|START_OF_TURN_TOKEN|><|{{ . }}_TOKEN|>{{ end }}
{{- if or .System .Tools }}{{ template "turn" "SYSTEM" }}{{ .System }}
{{- range .Tools }}
def {{ .Function.Name }}: {{ .Function }}
{{- end }}<|END_OF_TURN_TOKEN|>{{ end }}
{{- range .Messages }}
{{- if eq .Role "system" }}{{ continue }}{{ end }}
{{- if eq .Role "user" }}{{ template "turn" "USER" }}{{ .Content }}
{{- else if eq .Role "assistant" }}{{ template "turn" "CHATBOT" }}{{ .Content }}
{{- range .ToolCalls }}Action: {{ json .Function.Arguments }}{{ end }}
{{- else if eq .Role "tool" }}{{ template "turn" "SYSTEM" }}<results>
console_output: {{ .Content }}
</results>
{{- end }}<|END_OF_TURN_TOKEN|>
{{- end }}{{ template "turn" "CHATBOT" }}"""

ALPACA = """{{ if .System }}{{ .System }}

{{ end }}{{ if .Prompt }}### Instruction:
{{ .Prompt }}

{{ end }}### Response:
{{ .Response }}

"""

PHI = """{{ if .System }}<|system|>
{{ .System }}<|end|>
{{ end }}{{ if .Prompt }}<|user|>
{{ .Prompt }}<|end|>
{{ end }}<|assistant|>
{{ .Response }}<|end|>
"""

CHATS = [
    (
        CHATML,
        {"Messages": CHAT},
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
        "hello<|im_end|>\n<|im_start|>user\nbye<|im_end|>\n<|im_start|>assistant\n",
    ),
    (
        LLAMA3,
        {"Messages": CHAT[:2]},
        "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
        "hi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    (
        MISTRAL,
        {"Messages": CHAT[1:], "System": "Be brief."},
        "[INST] hi[/INST] hello</s>[INST] Be brief.\n\nbye[/INST]",
    ),
    (
        MISTRAL,
        {"Messages": TALK, "Tools": Tools([TOOL])},
        f'[AVAILABLE_TOOLS] [{{"function":{SHOWN}}}][/AVAILABLE_TOOLS][INST] Rain?[/INST][TOOL_CALLS] ['
        '{"name": "weather", "arguments": {"city":"Rome"}}]</s>[TOOL_RESULTS] {"content": dry} [/TOOL_RESULTS]',
    ),
    (
        QWEN,
        {"Messages": TALK, "System": "Be brief.", "Tools": Tools([TOOL])},
        '<|im_start|>system\nBe brief.\n\n<tools>\n{"type": "function", "function": '
        f"{SHOWN}}}\n</tools><|im_end|>\n<|im_start|>user\nRain?<|im_end|>\n<|im_start|>assistant\n<tool_call>\n"
        '{"name": "weather", "arguments": {"city":"Rome"}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\ndry\n</tool_response><|im_end|>\n<|im_start|>assistant\n",
    ),
    (
        QWEN,
        {"Messages": [message("user", "hi"), message("assistant", "hel")]},
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nhel",
    ),
    (
        GEMMA,
        {"Messages": CHAT[:2]},
        "<start_of_turn>user\nBe brief.<end_of_turn>\n<start_of_turn>user\nhi<end_of_turn>\n<start_of_turn>model\n",
    ),
    (
        DEEPSEEK,
        {"Messages": [message("user", "a"), message("assistant", "b", Thinking="t"), message("user", "c")],
         "IsThinkSet": True, "Think": False, "System": "S"},
        "S<User>a<Assistant><think>\nt\n</think>\nb<end><User>c<Assistant><think>\n\n</think>\n\n",
    ),
    (
        COMMAND_R,
        {"Messages": [CHAT[0], *TALK], "System": "Be brief.", "Tools": Tools([TOOL])},
        f"<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>Be brief.\ndef weather: {SHOWN}<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Rain?<|END_OF_TURN_TOKEN|>"
        '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>Action: {"city":"Rome"}<|END_OF_TURN_TOKEN|>'
        "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|><results>\nconsole_output: dry\n</results><|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    ),
]  # fmt: skip

TURNS = [
    (ALPACA, "S\n\n### Instruction:\nhi\n\n### Response:\nhello\n\n", "### Instruction:\nbye\n\n### Response:\n"),
    (
        PHI,
        "<|system|>\nS<|end|>\n<|user|>\nhi<|end|>\n<|assistant|>\nhello<|end|>\n",
        "<|user|>\nbye<|end|>\n<|assistant|>\n",
    ),
]

KNOWN: list[tuple[str, Callable[[Template], object], object]] = [
    (QWEN, lambda template: template.call_tag, "<tool_call>"),
    (MISTRAL, lambda template: template.call_tag, "[TOOL_CALLS] ["),
    (CHATML, lambda template: template.call_tag, None),
    (DEEPSEEK, lambda template: template.thinking_tags, ("<think>", "</think>")),
    (QWEN, lambda template: template.thinking_tags, None),
    (QWEN, lambda template: "tools" in template.variables, True),
    (GEMMA, lambda template: "tools" in template.variables, False),
]


@pytest.mark.parametrize(("source", "data", "written"), CHATS)
def test_a_chat_is_written_as_the_model_knows_it(source: str, data: dict[str, Any], written: str) -> None:
    assert Template.parse(source).execute(data) == written


@pytest.mark.parametrize(("source", "whole", "last"), TURNS)
def test_a_legacy_template_writes_turn_by_turn(source: str, whole: str, last: str) -> None:
    template = Template.parse(source)
    assert template.execute({"System": "S", "Prompt": "hi", "Response": "hello"}) == whole
    assert template.until("Response").execute({"System": "", "Prompt": "bye", "Response": ""}) == last
    assert template.until("Response").execute({"Prompt": "bye", "Response": "see"}) == last + "see"


@pytest.mark.parametrize(("source", "ask", "answer"), KNOWN)
def test_a_known_template_tells_its_markers(source: str, ask: Callable[[Template], object], answer: object) -> None:
    assert ask(Template.parse(source)) == answer


def test_two_hundred_messages_are_rendered_whole() -> None:
    said = [message(role, f"{number}") for number in range(100) for role in ("user", "assistant")]
    written = Template.parse(QWEN).execute({"Messages": said})
    assert written.count("<|im_start|>") == 200
    assert written.endswith("<|im_start|>assistant\n99")
