"""Chat templates: rendered as Hugging Face renders them, and hostile ones refused with a sentence."""

import json

import pytest

from apps.inference.prompt.template import CHATML, Template, TemplateError
from apps.inference.types import Message

HELLO = (Message("user", "<b>&'é"),)


def render(source: str, messages: tuple[Message, ...] = HELLO) -> str:
    return Template(source, bos="<s>", eos="</s>").render(messages)


def refusal(source: str) -> str:
    with pytest.raises(TemplateError) as caught:
        render(source)
    return str(caught.value)


def test_chatml_is_what_llama_cpp_writes() -> None:
    said = (Message("system", "Be brief."), Message("user", "hi"))
    assert render(CHATML, said) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_nothing_is_escaped_for_html() -> None:
    assert render("{{ messages[0].content }}") == "<b>&'é"
    assert render("{{ messages[0] | tojson }}") == json.dumps({"role": "user", "content": "<b>&'é"}, ensure_ascii=False)
    assert render("{{ {'b': 1} | tojson(indent=2) }}") == '{\n  "b": 1\n}'


def test_blocks_are_trimmed_as_hugging_face_trims_them() -> None:
    assert render("{% for m in messages %}\n    {% if true %}\n  x\n    {% endif %}\n{% endfor %}\n") == "  x\n"


def test_a_template_sees_the_marks_of_its_vocabulary_and_no_tools() -> None:
    assert render("{{ bos_token }}{{ eos_token }}{{ tools is none }}{{ add_generation_prompt }}") == "<s></s>TrueTrue"


def test_loop_controls_and_generation_marks_are_understood() -> None:
    source = "{% for n in range(9) %}{% if n == 2 %}{% break %}{% endif %}{% generation %}{{ n }}{% endgeneration %}"
    assert render(source + "{% endfor %}") == "01"


def test_the_day_can_be_printed() -> None:
    assert render('{{ strftime_now("%Y") }}').isdigit()


def test_a_template_s_own_refusal_is_told() -> None:
    text = "The model's chat template refuses these messages: roles must alternate"
    assert refusal("{{ raise_exception('roles must\\nalternate') }}") == text


def test_a_template_that_is_no_jinja_says_where() -> None:
    assert refusal("\n{% if %}").startswith("The model's chat template is not valid Jinja (line 2): ")


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception.__globals__['json'] }}",
        "{{ '%s'.__class__.mro() }}",
        "{{ self.__init__.__globals__ }}",
        "{{ '{0.__class__.__mro__}'.format(messages) }}",
    ],
)
def test_the_sandbox_lets_nothing_out(source: str) -> None:
    assert refusal(source).startswith("The model's chat template did what the sandbox forbids: ")


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(10**9) %}x{% endfor %}",
        "{{ 'a' * 10**10 }}",
        "{{ 10**10 * 'a' }}",
        "{{ [0] * 10**10 }}",
        "{{ 9**(9**9) }}",
        "{{ 10**(10**8) }}",
        "{{ 2**0.5 + messages }}",
        "{{ messages[7].content }}",
        "{{ undefined_thing() }}",
        "{% for i in range(99999) %}{{ messages[0].content * 200 }}{% endfor %}",
    ],
)
def test_a_bomb_or_a_blunder_is_a_sentence(source: str) -> None:
    assert refusal(source).startswith("The model's chat template failed: ")


def test_a_macro_that_calls_itself_is_a_sentence() -> None:
    assert refusal("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}") == (
        "The model's chat template calls itself too deeply."
    )


def test_a_source_of_two_megabytes_is_refused() -> None:
    assert refusal("x" * 2 * 1024 * 1024) == "The model's chat template is too long."


def test_a_failure_tells_no_more_than_a_line() -> None:
    assert len(refusal("{{ raise_exception('x' * 5000) }}")) < 400
