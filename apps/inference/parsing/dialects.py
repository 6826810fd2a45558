"""Calls that are not written as one JSON object: tags, fences, Python, and the quoting of the Gemma family."""

import ast
import json
import re
from typing import Any

from apps.inference.parsing import reading
from apps.inference.parsing.reading import Calls, Offer

MAX_PYTHON = 16 * 1024  # characters given to Python's parser, which is not linear

_PARAMETER = re.compile(r"\s*<parameter=([^>]*)>(.*?)</parameter>", re.DOTALL)
_PAIR = re.compile(r"\s*<arg_key>([^<]*)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)
_CALL_BEGIN = re.compile(r"\s*<｜tool[▁_ ]call[▁_ ]begin｜>")
_SEPARATOR = re.compile(r"<｜tool[▁_ ]sep｜>")
_GEMMA = re.compile(
    r'<escape>(.*?)<escape>|<\|"\|>(.*?)<\|"\|>|("(?:[^"\\]|\\.)*")|([{}\[\],:])|([^{}\[\],:<"]+)|.', re.DOTALL
)


def xml(text: str, offer: Offer) -> Calls:
    """`name>` and its parameters, from behind `<function=` to before `</function>`."""
    name, _, rest = text.removeprefix("<function=").partition(">")
    name = name.strip().strip('"')
    return _with_values(name, rest, _PARAMETER, offer)


def glm(text: str, offer: Offer) -> Calls:
    """`name`, then keys and values, each in a tag of its own."""
    name, tag, rest = text.partition("<arg_key>")
    return _with_values(name.strip(), tag + rest, _PAIR, offer)


def deepseek(text: str, offer: Offer) -> Calls:
    """`name<sep>{…}`, or `function<sep>name` and a fence with the arguments."""
    begin = _CALL_BEGIN.match(text)
    parts = _SEPARATOR.split(text[begin.end() :] if begin else text, maxsplit=1)
    if len(parts) < 2:
        return ()
    left, right = parts[0].strip(), parts[1].strip()
    if right.startswith("{"):
        return reading.named(left, right, offer)
    name, _, fence = right.partition("\n")
    inner = fence.strip().removeprefix("```json").removeprefix("```").removesuffix("```")
    return reading.named(name.strip(), inner, offer)


def gemma(text: str, offer: Offer) -> Calls:
    """`call:name{key:value, …}`, strings between <escape> marks or <|"|>."""
    name, _, rest = text.strip().removeprefix("call:").partition("{")
    return reading.named(name.strip(), _gemma_json("{" + rest), offer)


def python(text: str, offer: Offer) -> Calls:
    """Calls with keyword arguments, printed or not, one a line or in a list. Llama's `name.call(…)` too."""
    if len(text) > MAX_PYTHON:
        return ()
    try:
        body = ast.parse(text.strip()).body
        return reading.whole([reading.call(*pair) for node in body for pair in _calls_of(node, offer)])
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return ()


def python_call(name: str, text: str, offer: Offer) -> Calls:
    """One call, its name told from the brackets."""
    return python(name + text, offer)


def _with_values(name: str, text: str, pattern: re.Pattern[str], offer: Offer) -> Calls:
    arguments: dict[str, Any] = {}
    at = 0
    while match := pattern.match(text, at):
        key = match[1].strip()
        arguments[key] = _bare(match[2].removeprefix("\n").removesuffix("\n"), f"{name}.{key}" in offer.texts)
        at = match.end()
    if name not in offer.tools or text[at:].strip():
        return ()
    return (reading.call(name, arguments),)


def _bare(text: str, is_text: bool) -> Any:
    """A value without quotes: JSON where it is some, unless text is asked for."""
    if is_text:
        return text
    value = reading.value_of(text)
    return text if value is None and text.strip() != "null" else value


def _gemma_json(text: str) -> str:
    """Nothing where a quote is not closed: it must not be looked for again at every later one."""
    parts = []
    for match in _GEMMA.finditer(text):
        if match.lastindex is None:
            return ""
        parts.append(_gemma_token(match, text))
    return "".join(parts)


def _gemma_token(match: re.Match[str], text: str) -> str:
    escaped, marked, quoted, bracket, word = match.groups()
    if quoted or bracket:
        return quoted or bracket
    if escaped is not None or marked is not None:
        return json.dumps(escaped if escaped is not None else marked)
    is_key = text[match.end() : match.end() + 1] == ":"
    if not word.strip() or (not is_key and reading.value_of(word) is not None) or word.strip() == "null":
        return word
    return json.dumps(word.strip())


def _calls_of(node: ast.AST, offer: Offer) -> list[tuple[str, dict[str, Any]]]:
    """Raises ValueError where it is anything but calls of offered tools with literal arguments."""
    if isinstance(node, ast.Expr):
        return _calls_of(node.value, offer)
    if isinstance(node, ast.List | ast.Tuple):
        return [pair for item in node.elts for pair in _calls_of(item, offer)]
    if not isinstance(node, ast.Call):
        raise ValueError("no call")
    name = ast.unparse(node.func).removesuffix(".call")
    if name == "print" and name not in offer.tools and len(node.args) == 1:
        return _calls_of(node.args[0], offer)
    name = name if name in offer.tools else name.rpartition(".")[2]
    if node.args or name not in offer.tools or any(word.arg is None for word in node.keywords):
        raise ValueError("no call of a tool")
    return [(name, {str(word.arg): _literal(word.value) for word in node.keywords})]


def _literal(node: ast.expr) -> Any:
    """Raises ValueError or TypeError where the value is none that JSON has."""
    value = ast.literal_eval(node)
    checked = reading.value_of(json.dumps(value, allow_nan=False))
    if checked is None and value is not None:
        raise ValueError("no value that a call may have")
    return checked
