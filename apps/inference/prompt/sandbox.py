"""Where a chat template of a model's file runs: Jinja written by strangers, in an environment that counts. Pure.

The environment is the one Hugging Face's `apply_chat_template` gives, which is what such templates are written for.
Time and memory are bounded by the process around this (limits.py); what is bounded here fails sooner and says why.
"""

import json
from collections.abc import Iterable, Iterator, Sequence, Sized
from datetime import datetime
from typing import Any, cast

import jinja2
import jinja2.debug  # loaded late by jinja2 itself, when this process may no longer open files
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox
from jinja2.exceptions import SecurityError
from jinja2.parser import Parser

MAX_TEXT = 10 * 1024 * 1024  # characters of a rendered prompt, and of any text or list that a template puts together
MAX_STEPS = 1_000_000  # of one rendering: an item that a loop goes through is one
_CALL_STEPS = 20  # what a call of a macro costs, or one more item of a list
_LAZY_STEPS = 4  # what an item costs that is made on the way
_MAX_BITS = 4096  # of a number that a template computes
_SENTENCE = 300


_LENGTHENING = (jinja2.nodes.Concat, jinja2.nodes.Filter)


class TemplateError(Exception):
    """A template that cannot be used, or refuses these messages. The text is a sentence for the caller."""


class Refusal(Exception):
    """What a template raises itself, by raise_exception."""


class _Generation(jinja2.ext.Extension):
    """`{% generation %}…{% endgeneration %}` marks replies for training; here it is only its content."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Sees every operator that makes things longer, every turn of a loop and every call of a macro."""

    intercepted_binops = frozenset({"+", "*", "**"})
    steps_left = MAX_STEPS

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and _bits(left) * abs(right) > _MAX_BITS:
            raise OverflowError("a power is too large")
        if operator == "*" and _length(left) * _times(right) + _length(right) * _times(left) > MAX_TEXT:
            raise OverflowError("a multiplied text is too long")
        if operator == "*" and _bits(left) + _bits(right) > _MAX_BITS:
            raise OverflowError("a product is too large")
        if operator == "+" and _length(left) + _length(right) > MAX_TEXT:
            raise OverflowError("a text is too long")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Lists may grow and shrink by an item, as Kimi's templates do; all else that changes things may not."""
        if attr in ("append", "pop") and isinstance(obj, list):
            self.spend(_CALL_STEPS)
            return jinja2.sandbox.SandboxedEnvironment.is_safe_attribute(self, obj, attr, value)
        return super().is_safe_attribute(obj, attr, value)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """As in jinja2, whose names leave all others to the template."""
        return __self.limited(super().call(__context, __obj, *args, **kwargs))

    def spend(self, steps: int) -> None:
        self.steps_left -= steps
        if self.steps_left < 0:
            raise OverflowError(f"it takes more than {MAX_STEPS} steps")

    def counted(self, items: Any) -> Any:
        """What is to be gone through: counted at once where it has a length, else on the way."""
        if isinstance(items, Sized):
            self.spend(len(items))
            return items
        return self._counted(items)

    def limited(self, text: Any) -> Any:
        if _length(text) > MAX_TEXT:
            raise OverflowError("a text is too long")
        return text

    def _counted(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self.spend(_LAZY_STEPS)
            yield item

    def _parse(self, source: str, name: str | None, filename: str | None) -> jinja2.nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in list(tree.find_all((jinja2.nodes.For, jinja2.nodes.Macro, jinja2.nodes.CallBlock))):
            _count(node)
        for place in list(tree.find_all(jinja2.nodes.Node)):
            _limit_texts(place)
        return tree


def environment() -> Sandbox:
    extensions: Sequence[Any] = [jinja2.ext.loopcontrols, _Generation]
    sandbox = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
    del sandbox.globals["lipsum"]
    sandbox.filters["tojson"] = _tojson
    sandbox.globals["raise_exception"] = _raise_exception
    sandbox.globals["strftime_now"] = _strftime_now
    return sandbox


def sentence(error: Exception) -> str:
    """What went wrong in a template, in at most a line."""
    text = " ".join(str(error).split())[:_SENTENCE]
    if isinstance(error, Refusal):
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


def _call(method: str, *arguments: jinja2.nodes.Node, line: int) -> jinja2.nodes.Call:
    attribute = jinja2.nodes.EnvironmentAttribute(method, lineno=line)
    return jinja2.nodes.Call(attribute, cast(list[jinja2.nodes.Expr], [*arguments]), [], None, None, lineno=line)


def _count(node: jinja2.nodes.Node) -> None:
    """Counts what a loop goes through, and puts a step at the head of what can be called again and again."""
    line = node.lineno
    if isinstance(node, jinja2.nodes.For):
        node.iter = _call("counted", node.iter, line=line)
        if not node.recursive:
            return
    body = cast(jinja2.nodes.Macro, node).body
    step = _call("spend", jinja2.nodes.Const(_CALL_STEPS, lineno=line), line=line)
    body.insert(0, jinja2.nodes.ExprStmt(step, lineno=line))


def _limit_texts(parent: jinja2.nodes.Node) -> None:
    """`~` and filters are no operators to Jinja, but make texts longer like them."""
    if isinstance(parent, jinja2.nodes.FilterBlock | jinja2.nodes.AssignBlock):
        return  # their filter is no expression
    for field, value in parent.iter_fields():
        if isinstance(value, _LENGTHENING):
            setattr(parent, field, _call("limited", value, line=value.lineno))
        elif isinstance(value, list):
            value[:] = [
                _call("limited", item, line=item.lineno) if isinstance(item, _LENGTHENING) else item for item in value
            ]


def _bits(value: Any) -> int:
    return max(1, value.bit_length()) if isinstance(value, int) else 1


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | list | tuple) else 0


def _times(value: Any) -> int:
    return max(0, value) if isinstance(value, int) else 0


def _raise_exception(message: object) -> None:
    raise Refusal(str(message))


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


def _tojson(value: Any, ensure_ascii: bool = False, **layout: Any) -> str:
    """Without the HTML escapes of Jinja's own filter."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **layout)
