"""Whatever stands in a template: only TemplateError is raised, and every execution ends within its limits."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.inference.prompt.gotemplate import Limits, Template, TemplateError
from apps.inference.prompt.gotemplate.functions import NAMES

LIMITS = Limits(steps=2000, steps_per_item=20, output=20_000)

WORDS = [
    "{{", "}}", "{{- ", " -}}", " ", "\n", "if", "else", "else if", "end", "range", "with", "break", "continue",
    "define", "template", "block", "nil", "true", ".", ".A", ".B.C", "$", "$x", "$x := ", "$x = ", "$i, $x := ",
    "|", "(", ")", "1", "-1", "2.5", "'a'", '"t"', "`r`", '"%d %s"', '"%[9]*.*q"', "/*", "*/", ",", "text", "é", "\x00",
    "\\", '"', "99999",
    *NAMES,
]  # fmt: skip
SOUP = st.lists(st.sampled_from(WORDS), max_size=40).map("".join)

OPERAND = st.sampled_from(
    [".", "$", ".A", ".B", ".L", ".M", "$.L", "1", "0", "-3", "2.5", "`t`", "`%v %5.2q`", "nil", "true", "(len .L)"]
)
CALL = st.tuples(st.sampled_from(sorted(NAMES)), st.lists(OPERAND, max_size=4)).map(
    lambda call: " ".join([call[0], *call[1]])
)
PIPE = st.lists(st.one_of(CALL, st.sampled_from([".A", ".L", ".M.k", "(print .)"])), min_size=1, max_size=3).map(
    " | ".join
)
ACTION = PIPE.map(lambda pipe: f"{{{{ {pipe} }}}}")
BODY = st.recursive(
    st.one_of(ACTION, st.sampled_from(["text", "{{ break }}", "{{ $x := . }}{{ $x }}", "{{ template `t` . }}"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map("".join),
        st.tuples(st.sampled_from(["if", "with", "range", "range $i, $e :="]), PIPE, inner, inner).map(
            lambda parts: f"{{{{ {parts[0]} {parts[1]} }}}}{parts[2]}{{{{ else }}}}{parts[3]}{{{{ end }}}}"
        ),
        inner.map(lambda body: f"{{{{ range $.L }}}}{body}{{{{ end }}}}"),
    ),
    max_leaves=12,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from("ABLMk"), inner, max_size=4),
    max_leaves=10,
)
DATA = st.dictionaries(st.sampled_from(["A", "B", "L", "M"]), VALUES, max_size=4)


def attempt(source: str, data: dict[str, Any]) -> None:
    try:
        text = Template.parse(source).execute(data, limits=LIMITS)
    except TemplateError as error:
        assert str(error)
        str(error).encode()
        return
    text.encode()
    assert len(text) <= LIMITS.output


@given(st.one_of(st.text(max_size=60), SOUP), DATA)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_is_a_template_or_refused(source: str, data: dict[str, Any]) -> None:
    attempt(source, data)


@given(BODY, DATA)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_template_ends_within_its_limits(body: str, data: dict[str, Any]) -> None:
    attempt("{{ define `t` }}<{{ . }}>{{ end }}" + body, data)


@given(st.text(max_size=40), st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_text_outside_actions_and_in_values_is_written_as_it_is(before: str, value: str) -> None:
    plain = before.replace("{", "(")
    assert Template.parse(plain + "{{ .A }}").execute({"A": value}) == plain + value
