"""Whatever stands in a file's chat template: it is text or a TemplateError, within the sandbox' limits."""

import time
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.inference.prompt.conversation import Conversation
from apps.inference.prompt.sandbox import MAX_TEXT, TemplateError
from apps.inference.prompt.template import Asked, Template
from apps.inference.types import Message, ToolCall

SECONDS = 5.0

WORDS = [
    "{{", "}}", "{%", "%}", "{%- ", " -%}", "{#", "#}", " ", "\n", "if", "elif", "else", "endif", "for", "in", "endfor",
    "set", "endset", "macro f(x)", "endmacro", "call", "filter", "block", "include 'x'", "import 'x' as y",
    "generation", "endgeneration", "break", "continue", "recursive", "loop", "loop.index0", "messages", "message",
    ".content", "tools",
    "namespace(a=1)", "ns.a", "=", "==", "is", "defined", "not", "and", "or", "|", "tojson", "map", "range(9)", "f(1)",
    "raise_exception('no')", "strftime_now('%Y')", "[0]", "[::-1]", "(", ")", "[", "]", "~", "+", "*", "**", "%", "-1",
    "10**9", "'text'", "é", "\x00", "__class__", "self", "cycler", "lipsum()", "<s>",
]  # fmt: skip
SOUP = st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join)

VALUE = st.sampled_from(
    ["messages", "message.content", "messages[0]", "messages | length", "tools", "loop.index", "bos_token", "nothing.x",
     "'a' * 99", "range(5) | list", "namespace(a=1)", "messages | tojson", "7 // 0", "'%s' % messages", "ns.a ~ 1",
     "raise_exception('no')", "x | upper | trim", "messages | map(attribute='role') | join(',')", "1 if x else 2"]
)  # fmt: skip
BODY = st.recursive(
    VALUE.map(lambda value: f"{{{{ {value} }}}}") | st.sampled_from(["text", "{% break %}", "{% set ns.a = 2 %}"]),
    lambda inner: (
        st.lists(inner, max_size=4).map("".join)
        | st.tuples(VALUE, inner, inner).map(lambda p: f"{{% if {p[0]} %}}{p[1]}{{% else %}}{p[2]}{{% endif %}}")
        | st.tuples(VALUE, inner).map(lambda p: f"{{%- for message in {p[0]} -%}}{p[1]}{{% endfor %}}")
        | st.tuples(VALUE, inner).map(lambda p: f"{{% set x = {p[0]} %}}{p[1]}")
        | inner.map(lambda body: f"{{% macro f(x) %}}{body}{{% endmacro %}}{{{{ f(1) }}}}")
    ),
    max_leaves=12,
)

TEXT = st.text(max_size=20)
CALLS = st.lists(st.builds(ToolCall, TEXT, st.dictionaries(TEXT, TEXT, max_size=2), TEXT), max_size=2).map(tuple)
MESSAGES = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant", "tool"]), TEXT, tool_calls=CALLS),
    min_size=1, max_size=4,
).map(tuple)  # fmt: skip
WEATHER: dict[str, Any] = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
ASKED = st.sampled_from([Asked(), Asked(tools=(WEATHER,)), Asked(think=True), Asked(tools=(WEATHER,), think="high")])

BOUNDED = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def attempt(source: str, messages: tuple[Message, ...], asked: Asked) -> None:
    begun = time.process_time()
    try:
        text = Template(source, marks={"bos_token": "<s>"}).render(Conversation(messages), asked)
    except TemplateError as error:
        assert str(error)
        str(error).encode()
    else:
        text.encode()
        assert len(text) <= MAX_TEXT
    assert time.process_time() - begun < SECONDS


@BOUNDED
@given(st.text(max_size=60) | SOUP, MESSAGES, ASKED)
def test_any_text_is_a_template_or_refused(source: str, messages: tuple[Message, ...], asked: Asked) -> None:
    attempt(source, messages, asked)


@BOUNDED
@given(BODY, MESSAGES, ASKED)
def test_any_template_ends_within_its_limits(body: str, messages: tuple[Message, ...], asked: Asked) -> None:
    attempt(body, messages, asked)
