"""What a template tells of itself: its variables, its marker of calls, its tags of thinking, its part up to a field."""

import pytest

from apps.inference.prompt.gotemplate import Template

VARIABLES = [
    ("{{ .Prompt }}", {"prompt"}),
    ("{{ range $.Messages }}{{ .Role }}{{ end }}", {"messages", "role"}),
    ("{{ if and .Tools (not .Suffix) }}{{ else }}{{ with .Deep.Field }}{{ . }}{{ end }}{{ end }}",
     {"tools", "suffix", "deep", "field"}),
    ("{{ $x := .A }}{{ $x.B }}{{ (index .C 0).D | print .E }}", {"a", "b", "c", "d", "e"}),
    ("{{ define `t` }}{{ .Inner }}{{ end }}{{ template `t` .Outer }}{{ block `b` .F }}{{ .G }}{{ end }}",
     {"inner", "outer", "f", "g"}),
    ("Messages {{/* .Tools */}}{{ `.Response` }}", set()),
]  # fmt: skip

CALL_TAGS = [
    ("{{ range .Messages }}{{ if .ToolCalls }}<tool_call>\n{{ range .ToolCalls }}x{{ end }}{{ end }}{{ end }}",
     "<tool_call>"),
    ('{{ range .Messages }}{{ if .X }}{{ else if .ToolCalls }}[TOOL_CALLS] [{"name": 1}]{{ end }}{{ end }}',
     "[TOOL_CALLS] ["),
    ('{{ if .ToolCalls }}{{ range .ToolCalls }}\n<|python_tag|>{"name": "{{ .F }}"{{ end }}{{ end }}',
     "<|python_tag|>"),
    ("{{ with .M }}{{ if gt (len .L) 1 }}a{{ else }}{{ if and .ToolCalls 1 }}<c>{{ end }}{{ end }}{{ end }}", "<c>"),
    ('{{ if .ToolCalls }}{{ range .ToolCalls }}{"name": "{{ .Function.Name }}"}{{ end }}{{ end }}', ""),
    ("{{ if .ToolCalls }}{{ .Content }}<tool_call>{{ end }}", ""),
    ("{{ if .ToolCalls }}{{ $x := 1 }}<tool_call>{{ end }}", "<tool_call>"),
    ("{{ if .Tools }}<tools>{{ end }}{{ range .ToolCalls }}<call>{{ end }}", None),
]  # fmt: skip

TAGS = [
    ("{{ range .Messages }}{{ if .Thinking }}<think>\n{{ .Thinking }}\n</think>\n{{ end }}{{ .Content }}{{ end }}",
     ("<think>", "</think>")),
    ("{{ range $i, $m := $.Messages }}{{ if and $m.Thinking 1 }}[T]{{ $m.Thinking }}[/T]{{ end }}{{ end }}",
     ("[T]", "[/T]")),
    ("{{ range .Messages }}a {{ with .Thinking }}<t>{{ . }}</t>{{ end }} b{{ end }}", ("<t>", "</t>")),
    ("{{ range .Messages }}<a>{{ if .Thinking }}{{ .Thinking }}{{ end }}</a>{{ end }}", None),
    ("{{ range .Messages }}<a>{{ if .Thinking }}x{{ end }}</a>{{ end }}", None),
    ("{{ range .Others }}<think>{{ .Thinking }}</think>{{ end }}", None),
    ("{{ range .Messages }}{{ range .Parts }}<think>{{ .Thinking }}</think>{{ end }}{{ end }}", None),
    ("<think>{{ .Thinking }}</think>", None),
    ("{{ range .Messages }}{{ .Content }}{{ end }}", None),
]  # fmt: skip

LEGACY = "{{ if .System }}S:{{ .System }}\n{{ end }}U:{{ .Prompt }}\nA:{{ .Response }}<end>\n"
UNTIL = [
    (LEGACY, "S:s\nU:p\nA:r"),
    (
        "{{ if .Prompt }}U:{{ .Prompt }} {{ if .System }}A:{{ .Response }}<end>{{ else }}x{{ end }}y{{ end }}z",
        "U:p A:r",
    ),
    ("{{ if .Response }}A:{{ .Response }}<end>{{ end }}z", "A:r"),
    ("{{ $.Response }}z", "r"),
    ("{{ printf `%s!` .Response }}z", "r!"),
    ("{{ .Prompt }}z", "pz"),
]


@pytest.mark.parametrize(("source", "names"), VARIABLES)
def test_variables_are_the_fields_used_anywhere(source: str, names: set[str]) -> None:
    assert Template.parse(source).variables == names


@pytest.mark.parametrize(("source", "tag"), CALL_TAGS)
def test_the_marker_of_calls_is_the_first_text_of_their_block(source: str, tag: str | None) -> None:
    assert Template.parse(source).call_tag == tag


@pytest.mark.parametrize(("source", "tags"), TAGS)
def test_the_tags_of_thinking_stand_around_it(source: str, tags: tuple[str, str] | None) -> None:
    assert Template.parse(source).thinking_tags == tags


@pytest.mark.parametrize(("source", "written"), UNTIL)
def test_a_template_ends_where_the_field_is_written(source: str, written: str) -> None:
    data = {"System": "s", "Prompt": "p", "Response": "r"}
    assert Template.parse(source).until("Response").execute(data) == written


def test_the_whole_template_stays_as_it_was() -> None:
    template = Template.parse(LEGACY)
    template.until("Response")
    assert template.execute({"Prompt": "p", "Response": "r"}) == "U:p\nA:r<end>\n"
