"""What is refused, in Go's words where Go has some. The first ones are the wire contract's (sections 8.4 and 24)."""

import pytest

from apps.inference.prompt.gotemplate import Struct
from tests.inference.prompt.gotemplate.rendering import refusal

CONTRACT = [
    ("{{ .Prompt", ":1: unclosed action"),
    ("{{ foo }}", ':1: function "foo" not defined'),
    ("{{ if .X }}", ":1: unexpected EOF"),
    ("{{ end }}", ":1: unexpected {{end}}"),
]

LEXICAL = [
    ("a\n{{ .X\n\n", ":4: unclosed action started at :2"),
    ('{{ "a }}', ":1: unterminated quoted string"),
    ('{{ "a\n" }}', ":1: unterminated quoted string"),
    ("{{ `a }}", ":1: unterminated raw quoted string"),
    ("{{ 'a }}", ":1: unterminated character constant"),
    ("{{ (1 }}", ":1: unclosed left paren"),
    ("{{ 1) }}", ":1: unexpected right paren"),
    ("{{/* a", ":1: unclosed comment"),
    ("{{/* a */ }}", ":1: comment ends before closing delimiter"),
    ("{{ 3k }}", ':1: bad number syntax: "3k"'),
    ("{{ 1-2 }}", ':1: bad number syntax: "1-2"'),
    ("{{ : }}", ":1: expected :="),
    ("{{ .a$ }}", ":1: bad character U+0024 '$'"),
    ("{{ .-}}", ":1: bad character U+002D '-'"),
    ("{{ \x01 }}", ":1: unrecognized character in action: U+0001"),
    ("{{ é° }}", ":1: bad character U+00B0 '°'"),
]

SYNTAX = [
    ("{{ else }}", ":1: unexpected {{else}}"),
    ("{{}}", ":1: missing value for command"),
    ("{{ if }}{{ end }}", ":1: missing value for if"),
    ("{{ range }}{{ end }}", ":1: missing value for range"),
    ("{{ () }}", ":1: missing value for parenthesized pipeline"),
    ("{{ if .A }}{{ else }}{{ else }}{{ end }}", ":1: expected end; found {{else}}"),
    ("{{ with .A }}{{ else if .B }}{{ end }}", ":1: unexpected <if> in input"),
    ("{{ if .A }}{{ else range .B }}{{ end }}", ":1: unexpected <range> in else"),
    ("{{ .A ! }}", ':1: unexpected "!" in operand'),
    ("{{ | }}", ':1: unexpected "|" in command'),
    ("{{ .A,.B }}", ':1: unexpected "," in operand'),
    ("{{ 1 | 2 }}", ":1: non executable command in pipeline stage 2"),
    ("{{ .A | . }}", ":1: non executable command in pipeline stage 2"),
    ("{{ $x }}", ':1: undefined variable "$x"'),
    ("{{ $x = 1 }}{{ $y }}", ':1: undefined variable "$y"'),
    ("{{ if $x := 1 }}{{ end }}{{ $x }}", ':1: undefined variable "$x"'),
    ("{{ $x, $y := .A }}", ":1: too many declarations in command"),
    ("{{ range $x, $y, $z := .A }}{{ end }}", ":1: too many declarations in range"),
    ("{{ range $x, .A }}{{ end }}", ":1: range can only initialize variables"),
    ("{{ break }}", ":1: {{break}} outside {{range}}"),
    ("{{ if 1 }}{{ continue }}{{ end }}", ":1: {{continue}} outside {{range}}"),
    ("{{ range .A }}{{ define `x` }}{{ end }}{{ end }}", ":1: unexpected <define> in command"),
    ("{{ range .A }}{{ break 1 }}{{ end }}", ':1: unexpected "1" in {{break}}'),
    ("{{ template }}", ':1: unexpected "}}" in template clause'),
    ("{{ template .X }}", ':1: unexpected ".X" in template clause'),
    ("{{ block `x` }}{{ end }}", ":1: missing value for block clause"),
    ("{{ define }}{{ end }}", ':1: unexpected "}}" in define clause'),
    ("{{ define `x` }}{{ else }}", ":1: unexpected {{else}} in define clause"),
    (
        "{{ define `x` }}1{{ end }}\n{{ define `x` }}2{{ end }}",
        ':2: template: multiple definition of template "x"',
    ),
    ("{{ 1.A }}", ':1: bad number syntax: "1.A"'),
    ("{{ `a`.B }}", ':1: unexpected . after term "`a`"'),
    ("{{ nil.A }}", ':1: unexpected . after term "nil"'),
    ('{{ "\\z" }}', ":1: invalid syntax"),
    ("{{ 'ab' }}", ":1: malformed character constant: 'ab'"),
    ("{{ 18446744073709551616 }}", ':1: integer overflow: "18446744073709551616"'),
    ("{{ 0x }}", ':1: illegal number syntax: "0x"'),
    ("{{ 1e999 }}", ':1: illegal number syntax: "1e999"'),
    ("{{ 089 }}", ':1: integer overflow: "089"'),
    ("x\n\n{{ .ABCDEFGHIJKLMNO ! `abcdefghijkl` }}", ':3: unexpected "!" in operand'),
    ("{{ template abcdefghijklmnop }}", ':1: unexpected "abcdefghij"... in template clause'),
]

EXECUTION = [
    ("{{ .L.Role }}", ":1:5", "<.L.Role>: can't evaluate field Role in type []interface {}"),
    ("{{ .S.X }}", ":1:5", "<.S.X>: can't evaluate field X in type string"),
    ("{{ .M.Foo }}", ":1:5", "<.M.Foo>: can't evaluate field Foo in type api.Message"),
    ("a\n é{{ with .M }}{{ .Foo }}{{ end }}", ":2:19", "<.Foo>: can't evaluate field Foo in type api.Message"),
    ("{{ .No.A }}", ":1:6", "<.No.A>: nil pointer evaluating interface {}.A"),
    ("{{ .D.K 1 }}", ":1:5", "<.D.K>: K is not a method but has arguments"),
    ("{{ .M.Role 1 }}", ":1:5", "<.M.Role>: Role has arguments but cannot be invoked as function"),
    ("{{ nil }}", ":1:3", "<nil>: nil is not a command"),
    ("{{ 1 2 }}", ":1:3", "<1>: can't give argument to non-function 1"),
    ("{{ . 2 }}", ":1:3", "<.>: can't give argument to non-function ."),
    ("{{ 1 | (print) }}", ":1:8", "<print>: can't give argument to non-function print"),
    ("{{ 9223372036854775808 }}", ":1:3", "<9223372036854775808>: 9223372036854775808 overflows int"),
    ("{{ range .S }}{{ end }}", ":1:9", "<.S>: range can't iterate over text"),
    ("{{ range .M }}{{ end }}", ":1:9", "<.M>: range can't iterate over {user}"),
    ("{{ range $i, $x := 3 }}{{ end }}", ":1:19", "<3>: can't use 3 to iterate over more than one variable"),
    ("{{ template `x` . }}", ":1:3", '<{{template `x` .}}>: template "x" not defined'),
    ("{{ $x = 1 }}", ":1:3", "<$x>: undefined variable: $x"),
]

CALLS = [
    ("len", "wrong number of args for len: want 1 got 0"),
    ("ne 1", "wrong number of args for ne: want 2 got 1"),
    ("and", "wrong number of args for and: want at least 1 got 0"),
    ("eq 1", "error calling eq: missing argument for comparison"),
    ("eq 1 `a`", "error calling eq: incompatible types for comparison"),
    ("eq 1 1.0", "error calling eq: incompatible types for comparison"),
    ("eq .L .L", "error calling eq: non-comparable type [1 2]: []interface {}"),
    ("lt .L 1", "error calling lt: invalid type for comparison"),
    ("lt 1 `a`", "error calling lt: incompatible types for comparison"),
    ("gt true false", "error calling gt: invalid type for comparison"),
    ("len 3", "error calling len: len of type int"),
    ("len .No", "error calling len: len of nil pointer"),
    ("index .L 2", "error calling index: index out of range: 2"),
    ("index .L -1", "error calling index: index out of range: -1"),
    ("index .L `a`", "error calling index: cannot index slice/array with type string"),
    ("index .L nil", "error calling index: cannot index slice/array with nil"),
    ("index .D 1", "error calling index: value has type int; should be string"),
    ("index 1 1", "error calling index: can't index item of type int"),
    ("index .No 1", "error calling index: index of untyped nil"),
    ("index .D `a` `b`", "error calling index: index of nil pointer"),
    ("slice .L 3", "error calling slice: index out of range: 3"),
    ("slice .L 2 1", "error calling slice: invalid slice index: 2 > 1"),
    ("slice .L 0 1 2 3", "error calling slice: too many slice indexes: 4"),
    ("slice .S 0 1 2", "error calling slice: cannot 3-index slice a string"),
    ("slice 1 0", "error calling slice: can't slice item of type int"),
    ("slice .No 0", "error calling slice: slice of untyped nil"),
    ("call .S", "error calling call: non-function of type string"),
    ("call .No", "error calling call: call of nil"),
]

DATA = {"S": "text", "L": [1, 2], "M": Struct({"Role": "user"}, "api.Message"), "D": {"K": 1}}


@pytest.mark.parametrize(("source", "text"), [*CONTRACT, *LEXICAL, *SYNTAX])
def test_a_source_that_is_no_template_is_refused_in_go_s_words(source: str, text: str) -> None:
    assert refusal(source) == f"template: {text}"


def test_a_template_called_with_nothing_is_refused_in_ollama_s_words() -> None:
    assert refusal('{{ define "x" }}{{ end }}{{ template "x" }}') == "undefined template specified"


@pytest.mark.parametrize(("source", "place", "text"), EXECUTION)
def test_an_execution_that_fails_says_where(source: str, place: str, text: str) -> None:
    assert refusal(source, DATA) == f'template: {place}: executing "" at {text}'


@pytest.mark.parametrize(("call", "text"), CALLS)
def test_a_call_that_fails_says_why(call: str, text: str) -> None:
    name = call.split()[0]
    assert refusal(f"{{{{ {call} }}}}", DATA) == f'template: :1:3: executing "" at <{name}>: {text}'


def test_a_wrong_type_for_a_text_is_named() -> None:
    start = 'template: :1:10: executing "" at'
    assert refusal("{{ printf 5 }}") == f"{start} <5>: expected string; found 5"
    assert (
        refusal("{{ printf .L }}", DATA) == f"{start} <.L>: wrong type for value; expected string; got []interface {{}}"
    )
    assert refusal("{{ printf .No }}", DATA) == f"{start} <.No>: invalid value; expected string"


def test_an_error_inside_a_defined_template_names_it() -> None:
    source = '{{ define "turn" }}{{ .Nope }}{{ end }}{{ template "turn" .M }}'
    assert refusal(source, DATA).startswith('template: :1:22: executing "turn" at <.Nope>: can\'t evaluate field Nope')


def test_a_long_context_is_cut_in_the_error() -> None:
    text = refusal("{{ template `x` (print" + " `aaaaaaaaaaaaaaaaaaaaaaa`" * 500 + ") }}")
    assert text.endswith('...>: template "x" not defined')
    assert len(text) < 400
