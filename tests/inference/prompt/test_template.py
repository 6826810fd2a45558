"""Chat templates: rendered as Hugging Face renders them, and hostile ones refused with a sentence."""

import json
import time

import pytest

from apps.inference.prompt.conversation import Conversation
from apps.inference.prompt.sandbox import TemplateError
from apps.inference.prompt.template import CHATML, NOTHING, Asked, Template
from apps.inference.types import Message, ToolCall

HELLO = (Message("user", "<b>&'é"),)


def render(source: str, messages: tuple[Message, ...] = HELLO, asked: Asked = NOTHING) -> str:
    return Template(source, marks={"bos_token": "<s>", "eos_token": "</s>"}).render(Conversation(messages), asked)


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
        "{{ messages.clear() }}",
        "{{ messages[0].update(role='x') }}",
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
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) | map('abs') %}{% for b in range(99999) | map('abs') %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
        "{% for x in [[[[[[1] * 9] * 9] * 9] * 9] * 9] * 9 recursive %}{{ loop(x) if x is iterable }}{% endfor %}",
        "{% set l = [1] %}{% for x in l %}{{ l.append(1) }}{% endfor %}",
        "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x | length }}",
        "{% set n = namespace(x=7) %}{% for i in range(99) %}{% set n.x = n.x * n.x %}{% endfor %}{{ n.x }}",
        "{{ messages[0].content.center(20000000) }}",
        "{{ messages[0].content | center(20000000) }}",
        "{{ lipsum(100000) }}",
    ],
)
def test_a_bomb_or_a_blunder_is_a_sentence(source: str) -> None:
    begun = time.process_time()
    assert refusal(source).startswith("The model's chat template failed: ")
    assert time.process_time() - begun < 2


def test_a_macro_that_calls_itself_is_a_sentence() -> None:
    assert refusal("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}") == (
        "The model's chat template calls itself too deeply."
    )


def test_a_source_of_two_megabytes_is_refused() -> None:
    assert refusal("x" * 2 * 1024 * 1024) == "The model's chat template is too long."


def test_a_failure_tells_no_more_than_a_line() -> None:
    assert len(refusal("{{ raise_exception('x' * 5000) }}")) < 400


# --- What a request wants besides its messages --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("think", "said"),
    [
        (None, "-,-,-"),
        (True, "True,True,-"),
        (False, "False,False,-"),
        ("low", "True,True,low"),
        ("max", "True,True,max"),
    ],
)
def test_how_much_to_think_is_said_in_the_words_that_templates_use(think: bool | str | None, said: str) -> None:
    names = ("enable_thinking", "thinking", "reasoning_effort")
    source = ",".join(f"{{{{ {name} if {name} is defined else '-' }}}}" for name in names)
    assert render(source, asked=Asked(think=think)) == said


def test_harmony_knows_no_more_than_high() -> None:
    source = "<|start|><|channel|><|end|>{{ reasoning_effort }}"
    assert render(source, asked=Asked(think="max")).endswith("high")


def test_tools_are_a_list_in_the_order_given() -> None:
    tools = tuple({"type": "function", "function": {"name": name, "b": 1, "a": 2}} for name in ("z", "y"))
    assert json.loads(render("{{ tools | tojson }}", asked=Asked(tools=tools))) == list(tools)
    assert render("{% for t in tools %}{{ t.function.items() | list }}{% endfor %}", asked=Asked(tools=tools)) == (
        "[('name', 'z'), ('b', 1), ('a', 2)][('name', 'y'), ('b', 1), ('a', 2)]"
    )


def test_what_other_environments_give_is_there() -> None:
    assert render("{{ documents is none }}{{ date_string | length }}{{ datetime[-3:] }}{{ functions }}") == "True11GMT"
    assert render("{{ {'a': 1} | items | list }}{% filter upper %}x{% endfilter %}") == "[('a', 1)]X"
    assert render("{% set l = [] %}{% for m in messages %}{{ l.append(m.role) }}{% endfor %}{{ l }}") == "None['user']"


def test_thoughts_and_calls_of_earlier_replies_are_replayed() -> None:
    call = Message("assistant", "so", thinking="hm", tool_calls=(ToolCall("f", {"b": 1, "a": "é"}, "id1"),))
    said = (*HELLO, call, Message("tool", "sun", tool_call_id="id1"))
    source = (
        "{% for m in messages %}{{ m.reasoning_content }}{% for c in m.tool_calls %}{{ c.id }}{{ c.function.name }}"
        "{{ c.function.arguments | tojson }}{% endfor %}{{ m.name }}{{ m.tool_call_id }}{{ m.content }};{% endfor %}"
    )
    assert render(source, said) == '<b>&\'é;hmid1f{"b": 1, "a": "é"}so;fid1sun;'
