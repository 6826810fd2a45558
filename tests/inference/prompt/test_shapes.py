"""In which shape a template wants calls of tools."""

from typing import Any

import jinja2
import pytest

from apps.inference.prompt import shapes
from apps.inference.prompt.sandbox import TemplateError
from apps.inference.prompt.shapes import Shape
from apps.inference.types import Message, ToolCall

CALL = ToolCall("f", {"a": 1}, "call_12345678")
SHOWN = "{% for m in messages %}{% for c in m.tool_calls %}{{ BODY }}{% endfor %}{{ m.content }}{% endfor %}"


def found(body: str, before: str = "") -> Shape:
    template = jinja2.Environment().from_string(before + SHOWN.replace("{{ BODY }}", body))

    def render(messages: list[dict[str, Any]]) -> str:
        try:
            return template.render(messages=messages)
        except (TypeError, jinja2.TemplateError) as error:
            raise TemplateError(str(error)) from error

    return shapes.find(render)


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("{{ c.function.arguments | tojson }}", Shape()),
        ("{% for k, v in c.function.arguments.items() %}{{ k }}={{ v }}{% endfor %}", Shape()),
        ("{{ 'x' + c.function.arguments }}", Shape(text=True)),
        ("{{ c.function.arguments }}", Shape(text=True)),
        ("{% if m.content is none %}{{ c.function.arguments | tojson }}{% endif %}", Shape(none=True)),
        ("{% if c.id | length == 9 %}{{ c.function.arguments | tojson }}{% endif %}", Shape(nine=True)),
        ("", Shape()),
    ],
)
def test_the_first_shape_in_which_a_call_arrives_is_taken(body: str, shape: Shape) -> None:
    assert found(body) == shape


def test_a_template_that_takes_no_calls_at_all_gets_the_plain_shape() -> None:
    assert found("{{ 1 + '' }}") == Shape()


def test_an_answer_is_told_the_name_or_the_id_that_the_client_left_out() -> None:
    said = (
        Message("assistant", tool_calls=(CALL, ToolCall("g", {}, "call_2"), ToolCall("f", {}, "call_3"))),
        Message("tool", "1", tool_name="f"),
        Message("tool", "2", tool_call_id="call_2"),
        Message("tool", "3", tool_name="f"),
        Message("tool", "4", tool_name="h"),
    )
    answers = shapes.messages(said)[1:]
    assert [(answer.get("name"), answer.get("tool_call_id")) for answer in answers] == [
        ("f", "call_12345678"),
        ("g", "call_2"),
        ("f", "call_3"),
        ("h", None),
    ]


def test_ids_of_nine_letters_stay_and_others_become_nine_the_same_in_call_and_answer() -> None:
    said = (
        Message("assistant", tool_calls=(CALL, ToolCall("g", {}, "abc123XYZ"))),
        Message("tool", "", tool_call_id=CALL.id),
    )
    message, answer = shapes.messages(said, Shape(nine=True))
    first, second = (call["id"] for call in message["tool_calls"])
    assert second == "abc123XYZ"
    assert len(first) == 9
    assert first.isalnum()
    assert answer["tool_call_id"] == first
    assert answer["name"] == "f"


def test_harmony_takes_the_thought_before_a_call_and_not_the_text() -> None:
    said = (Message("assistant", "text", thinking="hm", tool_calls=(CALL,)),)
    assert shapes.messages(said, harmony=True)[0]["content"] == ""
    assert shapes.messages(said)[0]["content"] == "text"
