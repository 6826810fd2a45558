"""Modelfiles: parser and printer (wire contract, section 18; the error texts are Ollama's). Pure.

Nothing can be escaped in this format, so a few values have no spelling: one in which a line ends with three quotes, and
one with characters that are not printable, which the parser drops.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from apps.errors import Problem

INSTRUCTIONS = (
    "from", "license", "template", "system", "adapter", "draft", "renderer", "parser", "parameter", "message",
    "requires",
)  # fmt: skip
ROLES = ("system", "user", "assistant")
DEFAULT_TEMPLATE = "{{ .Prompt }}"

_KEYED = ("parameter", "message")
_END = "unexpected EOF"
_BLANKS = " \t"
_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")
_INSTRUCTION = re.compile(r"[A-Za-z]*")
_PARAMETER = re.compile(r"[A-Za-z0-9_]*")
_SEMVER = re.compile(r"v?(0|[1-9]\d*)(\.(0|[1-9]\d*)){0,2}([-+][0-9A-Za-z.+-]+)?", re.ASCII)


@dataclass(frozen=True)
class Command:
    """`name` is an instruction in lower case; `key` is a PARAMETER's name or a MESSAGE's role."""

    name: str
    value: str
    key: str = ""


@dataclass(frozen=True)
class _Line:
    number: int
    text: str
    ending: str  # empty on the last line


def decode(raw: bytes) -> str:
    """UTF-8, or UTF-16 when a byte order mark says so."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "replace")
    return raw.decode("utf-8", "replace").removeprefix("\ufeff")


def parse(text: str) -> list[Command]:
    """The commands in their order. Raises Problem("invalid") with the parser's text."""
    lines = _lines(text)
    commands = []
    for line in lines:
        rest = line.text.lstrip(_BLANKS)
        if rest and not rest.startswith("#"):
            commands.append(_command(line, rest, lines))
    if not any(command.name == "from" for command in commands):
        raise Problem("invalid", "no FROM line")
    for command in commands:
        if command.name == "requires" and not _SEMVER.fullmatch(command.value):
            raise Problem("invalid", "requires must be a valid semver (e.g. 0.14.0)")
    return commands


def dump(commands: Iterable[Command]) -> str:
    """A Modelfile that parses to the same commands."""
    return "".join(f"{_printed(command)}\n" for command in commands)


def quote(value: str) -> str:
    """As Ollama prints a value: bare where that is safe. (It leaves a leading quote and an empty value bare, too.)"""
    bare = value and not value.startswith('"') and value == value.strip(_BLANKS) and not re.search(r"[\r\n]", value)
    if bare:
        return value
    return f'"""{value}"""' if '"' in value else f'"{value}"'


def _printed(command: Command) -> str:
    words = [command.name.upper(), *([command.key] if command.name in _KEYED else []), quote(command.value)]
    return " ".join(words)


def _lines(text: str) -> Iterator[_Line]:
    for number, found in enumerate(_LINE.finditer(text), start=1):
        yield _Line(number, "".join(filter(_kept, found[1])), found[2])
        if not found[2]:
            return


def _kept(character: str) -> bool:
    return character == "\t" or character.isprintable()


def _command(line: _Line, rest: str, following: Iterator[_Line]) -> Command:
    word, left = _word(_INSTRUCTION, line, rest)
    if left is None:
        raise Problem("invalid", _END)
    if not left.startswith(tuple(_BLANKS)) or word.lower() not in INSTRUCTIONS:
        raise _at(line, left, "command", INSTRUCTIONS)
    name, rest = word.lower(), left[1:]
    key = ""
    if name == "parameter":
        key, rest = _parameter_name(line, rest)
    elif name == "message":
        key, rest = _role(line, rest)
    return Command(name, _value(_Line(line.number, rest, line.ending), following), key)


def _word(pattern: re.Pattern[str], line: _Line, rest: str) -> tuple[str, str | None]:
    """What the pattern takes of `rest`, and what is left: None where the file ends with the word."""
    found = pattern.match(rest)
    word = found[0] if found else ""
    left = rest[len(word) :]
    return word, left if left or line.ending else None


def _parameter_name(line: _Line, rest: str) -> tuple[str, str]:
    name, left = _word(_PARAMETER, line, rest)
    if left is None:
        raise Problem("invalid", _END)
    if not left.startswith(tuple(_BLANKS)):
        raise Problem("invalid", f"{_END}: {name}")
    return name, left[1:]


def _role(line: _Line, rest: str) -> tuple[str, str]:
    role, left = _word(_INSTRUCTION, line, rest)
    if left is None:
        raise Problem("invalid", _END)
    if not left.startswith(tuple(_BLANKS)) or role not in ROLES:
        raise _at(line, left, "message role", ROLES)
    return role, left[1:]


def _at(line: _Line, left: str, what: str, allowed: tuple[str, ...]) -> Problem:
    """Ollama counts a line break before it looks at it, so a line that ends too early is reported as the next one."""
    number = line.number if left else line.number + 1
    listed = ", ".join(f'"{name}"' for name in allowed[:-1])
    return Problem("invalid", f'(line {number}): {what} must be one of {listed}, or "{allowed[-1]}"')


def _value(line: _Line, following: Iterator[_Line]) -> str:
    """The value that begins on `line`, and runs on over the lines that follow if it opens a quote."""
    first = line.text.strip(_BLANKS)
    mark = next((mark for mark in ('"""', '"') if first.startswith(mark)), "")
    if not mark:
        return first
    if len(first) >= 2 * len(mark) and first.endswith(mark):
        return first[len(mark) : -len(mark)]
    return _long_value(line, mark, following)


def _long_value(line: _Line, mark: str, following: Iterator[_Line]) -> str:
    gathered = [line.text.lstrip(_BLANKS)[len(mark) :]]
    while line.ending:
        gathered.append(line.ending)
        line = next(following)
        end = line.text.rstrip(_BLANKS)
        if end.endswith(mark):
            return "".join([*gathered, end[: -len(mark)]])
        gathered.append(line.text)
    raise Problem("invalid", _END)
