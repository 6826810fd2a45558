"""A chat template of a model's file: Jinja written by strangers, in a sandbox. Pure.

The environment is the one Hugging Face's `apply_chat_template` gives, which is what such templates are written for.
Time and memory are bounded by the process around this (limits.py); what is bounded here fails sooner and says why.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import jinja2
import jinja2.debug  # loaded late by jinja2 itself, when this process may no longer open files
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox
from jinja2.exceptions import SecurityError
from jinja2.parser import Parser

from apps.inference.types import Message

MAX_TEXT = 10 * 1024 * 1024  # characters of a rendered prompt, and of any text that a template multiplies
_MAX_SOURCE = 1024 * 1024
_MAX_EXPONENT_BITS = 4096
_SENTENCE = 300

# llama.cpp's own choice for a chat with a model whose file brings no template.
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class TemplateError(Exception):
    """A template that cannot be used, or refuses these messages. The text is a sentence for the caller."""


class _Refusal(Exception):
    """What a template raises itself, by raise_exception."""


class _Generation(jinja2.ext.Extension):
    """`{% generation %}…{% endgeneration %}` marks replies for training; here it is only its content."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and _bits(left) * abs(right) > _MAX_EXPONENT_BITS:
            raise OverflowError("a power is too large")
        if operator == "*" and _length(left) * _times(right) + _length(right) * _times(left) > MAX_TEXT:
            raise OverflowError("a multiplied text is too long")
        return super().call_binop(context, operator, left, right)


def _bits(value: Any) -> int:
    return max(1, value.bit_length()) if isinstance(value, int) else 1


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | list | tuple) else 0


def _times(value: Any) -> int:
    return max(0, value) if isinstance(value, int) else 0


def _raise_exception(message: object) -> None:
    raise _Refusal(str(message))


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


def _tojson(value: Any, ensure_ascii: bool = False, **layout: Any) -> str:
    """Without the HTML escapes of Jinja's own filter."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **layout)


def _environment() -> _Sandbox:
    extensions: Sequence[Any] = [jinja2.ext.loopcontrols, _Generation]
    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


class Template:
    """Compiled once; a source that does not compile is remembered and refuses each rendering."""

    def __init__(self, source: str, *, bos: str, eos: str) -> None:
        self._fixed = {"bos_token": bos, "eos_token": eos, "tools": None}
        self._template: jinja2.Template | None = None
        self._failure = ""
        if len(source) > _MAX_SOURCE:
            self._failure = "The model's chat template is too long."
            return
        try:
            self._template = _environment().from_string(source)
        except Exception as error:  # the source is a stranger's: what its compiling raises is not known beforehand
            self._failure = _sentence(error)

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt's text, ready for the reply. Raises TemplateError; MemoryError passes through."""
        if self._template is None:
            raise TemplateError(self._failure)
        said = [{"role": message.role, "content": message.content} for message in messages]
        try:
            return self._written(self._template, said)
        except MemoryError:
            raise
        except Exception as error:  # any kind can come out of a stranger's template; none may end the child
            raise TemplateError(_sentence(error)) from error

    def _written(self, template: jinja2.Template, messages: list[dict[str, str]]) -> str:
        pieces, length = [], 0
        for piece in template.generate(messages=messages, add_generation_prompt=True, **self._fixed):
            length += len(piece)
            if length > MAX_TEXT:
                raise OverflowError("the prompt is too long")
            pieces.append(piece)
        return "".join(pieces)


def rehearse() -> None:
    """Use what Python and jinja2 load only when it is first needed, while this process may still open files."""
    source = r"""{% macro f(x) %}{{ x | tojson }}{% endmacro %}{{ f("\n\u00e9") }}{{ strftime_now("%d %B %Y") }}
        {% for m in messages | selectattr("role") %}{{ m.content.strip() | upper }}{% break %}{% endfor %}"""
    Template(source, bos="", eos="").render([Message("user", "é")])
    for broken in ("{% if %}", "{{ raise_exception('x') }}", "{{ ''.__class__.__mro__ }}", "{{ messages + 1 }}"):
        with suppress(TemplateError):
            Template(broken, bos="", eos="").render([])


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())[:_SENTENCE]
    if isinstance(error, _Refusal):
        return f"The model's chat template refuses these messages: {text}"
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"The model's chat template is not valid Jinja (line {error.lineno}): {text}"
    if isinstance(error, SecurityError):
        return f"The model's chat template did what the sandbox forbids: {text}"
    if isinstance(error, RecursionError):
        return "The model's chat template calls itself too deeply."
    if isinstance(error, MemoryError):
        return "The model's chat template needs more memory than it may have."
    return f"The model's chat template failed: {type(error).__name__}: {text}"
