"""Hostile templates are refused with a sentence, and soon."""

import time
import tracemalloc

import pytest

from apps.inference.prompt.gotemplate import Limits, Template, TemplateError
from apps.inference.prompt.gotemplate.values import Struct
from tests.inference.prompt.gotemplate.rendering import refusal, render

LONG = "The template is too long."
DEEP = "The template is nested too deeply."
STEPS = "The template takes too many steps."
TEXT = "The template writes too much text."
SECONDS = 3.0  # generous: test machines are busy; each takes tenths of a second at most

MESSAGES = [{"Role": "user", "Content": "hello " * 50, "ToolCalls": []}] * 200
BIG = "é" * 1_000_000
WIDE = {"Type": "", "AnyOf": [{"Type": "string"}] * 10_000}
DATA = {
    "Messages": MESSAGES,
    "Big": BIG,
    "Same": BIG[:-1] + "x",
    "Wide": WIDE,
    "One": Struct({"Parts": [1.5] * 20_000}),
    "Other": Struct({"Parts": [1.5] * 19_999 + [2.5]}),
}

HOSTILE = [
    ("{{range $.Messages}}" * 5 + "{{end}}" * 5, STEPS),
    ("{{range 99999999999}}{{end}}", STEPS),
    ("{{range $.Messages}}{{range $.Messages}}{{$x := slice $.Messages 1}}{{end}}{{end}}", STEPS),
    ("{{range 99999}}{{$x := len $.Big}}{{end}}", STEPS),
    ("{{range 99999}}{{$x := eq $.Big $.Same}}{{end}}", STEPS),
    ("{{range 99999}}{{print " + ". " * 20000 + "}}{{end}}", STEPS),
    ("{{$b:=1}}" + "{{$a:=1}}" * 3000 + "{{$b}}" * 5000, STEPS),
    ("{{define `x`}}{{template `x` .}}{{end}}{{template `x` .}}", DEEP),
    ("{{define `x`}}{{template `y` .}}{{end}}{{define `y`}}{{template `x` .}}{{end}}{{template `x` .}}", DEEP),
    ("{{define `x`}}{{template `x` .}}{{template `x` .}}{{end}}{{template `x` .}}", DEEP),
    ("{{if 1}}" * 200 + "{{end}}" * 200, DEEP),
    ("{{if 0}}" + "{{else if 0}}" * 200 + "{{end}}", DEEP),
    ("{{" + "(" * 20000 + "1" + ")" * 20000 + "}}", DEEP),
    ("{{printf `" + "%999999d" * 12 + "`" + " 1" * 12 + "}}", TEXT),
    ("{{range 999}}{{printf `%999999s` `a`}}{{end}}", TEXT),
    ("{{$x := `aaaaaaaa`}}{{range 99}}{{$x = printf `%s%s` $x $x}}{{end}}", TEXT),
    ("{{range $.Messages}}{{$.Big}}{{end}}", TEXT),
    ("{{range 99999}}{{$x := json $.Messages}}{{end}}", STEPS),
    ("{{range 99999}}{{$x := html $.Big}}{{end}}", TEXT),
    ("{{print " + "$.Messages " * 4000 + "}}", STEPS),
    ("{{println " + "$.Big " * 100 + "}}", TEXT),
    ("{{range 99999}}{{$x := print $.Other}}{{end}}", STEPS),
    ("{{range 99999}}{{$.Other}}{{end}}", STEPS),
    ("{{range 99999}}{{print " + "1i " * 10000 + "}}{{end}}", STEPS),
    ("{{range 99999}}{{printf `" + "%v" * 30000 + "` 1}}{{end}}", STEPS),
    ("{{range 99999}}{{printf `" + "%+q" * 8000 + "`" + " ." * 8000 + "}}{{end}}", STEPS),
    ("{{range 99999}}{{$x := printf `a`" + " $.Messages" * 100 + "}}{{end}}", STEPS),
    ("{{range 99999}}{{$x := printf `%q` $.Big}}{{end}}", STEPS),
    ("{{printf `%999999v` $.Messages}}", TEXT),
    ("{{range 99999}}{{$x := js $.Big}}{{end}}", STEPS),
    ("{{range 99999}}{{$x := urlquery $.Big}}{{end}}", STEPS),
    ("{{range 99999}}{{$x := json $.Other}}{{end}}", STEPS),
    ("{{range 99999}}{{$x := eq $.One $.Other}}{{end}}", STEPS),
    ("{{range 99999}}{{$x := toTypeScriptType $.Wide}}{{end}}", STEPS),
    ("x" * (64 * 1024 + 1), LONG),
]


@pytest.mark.parametrize(("source", "sentence"), HOSTILE)
def test_a_hostile_template_is_refused_soon(source: str, sentence: str) -> None:
    started = time.monotonic()
    assert refusal(source, DATA) == sentence
    assert time.monotonic() - started < SECONDS


def test_a_text_that_is_too_long_is_not_made_first() -> None:
    templates = [
        Template.parse("{{$x := " + call + " $.Messages" * 1000 + "}}")
        for call in ("print", "println", "html", "printf `%s`")
    ]
    templates.append(Template.parse("{{$x := printf `%900000v` (slice $.Many 0)}}"))  # the width is each item's
    tracemalloc.start()
    try:
        for template in templates:
            with pytest.raises(TemplateError, match=TEXT):
                template.execute(
                    {"Messages": ["hello " * 50_000], "Many": ["x"] * 100}, limits=Limits(output=1_000_000)
                )
        assert tracemalloc.get_traced_memory()[1] < 20_000_000  # 300 MB, if they were
    finally:
        tracemalloc.stop()


def test_deep_data_is_refused_and_not_cut() -> None:
    deep: list[object] = []
    for _ in range(2000):
        deep = [deep]
    assert refusal("{{ .D }}", {"D": deep}) == DEEP
    assert refusal("{{ json .D }}", {"D": deep}) == DEEP


def test_each_item_of_the_data_brings_steps() -> None:
    limits = Limits(steps=10, steps_per_item=10)
    template = Template.parse("{{ range .L }}{{ .A }}{{ .A }}{{ end }}")
    assert template.execute({"L": [{"A": 1}] * 1000}, limits=limits) == "1" * 2000
    with pytest.raises(TemplateError, match=STEPS):
        Template.parse("{{ range 100 }}{{ . }}{{ end }}").execute({}, limits=limits)


def test_a_limit_is_reached_and_not_passed() -> None:
    template = Template.parse("{{ range .L }}abcde{{ end }}")
    assert template.execute({"L": [1, 2]}, limits=Limits(output=10)) == "abcdeabcde"
    with pytest.raises(TemplateError, match=TEXT):
        template.execute({"L": [1, 2]}, limits=Limits(output=9))
    assert render("{{if 1}}" * 98 + "x" + "{{end}}" * 98) == "x"
    assert Template.parse("abc", limits=Limits(source=3)).execute({}) == "abc"
