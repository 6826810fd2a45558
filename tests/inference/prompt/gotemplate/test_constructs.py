"""Every construct of Go's text/template, with what Go writes for it."""

import pytest

from apps.inference.prompt.gotemplate import Struct
from tests.inference.prompt.gotemplate.rendering import render

DATA = {
    "Name": "corral",
    "Empty": "",
    "Zero": 0,
    "One": 1,
    "No": False,
    "Nil": None,
    "List": ["a", "b", "c"],
    "Nothing": [],
    "Map": {"b": 2, "a": 1},
    "Deep": {"x": {"y": {"z": "found"}}},
    "Struct": Struct({"Role": "user", "Content": ""}, "api.Message"),
}

TEXT = [
    ("", ""),
    ("plain", "plain"),
    ("{ } {{`{{`}} }}", "{ } {{ }}"),
    ("a\r\nb", "a\r\nb"),
    ("é {{ .Name }} 🐎", "é corral 🐎"),
]

TRIMMING = [
    ("x {{ .One }} y", "x 1 y"),
    ("x {{- .One }} y", "x1 y"),
    ("x {{ .One -}} y", "x 1y"),
    ("x \n\t{{- .One -}}\r\n y", "x1y"),
    ("{{23 -}} < {{- 45}}", "23<45"),
    ("x {{-3}} y", "x -3 y"),
    ("x{{- 3 -}}y", "x3y"),
    ("a {{/* a comment */}} b", "a  b"),
    ("a {{- /* a comment\nof two lines */ -}} b", "ab"),
    ("  {{- `` -}}  ", ""),
    ("a {{- 1 -}} {{- 2 -}} b", "a12b"),
    ("{{\n.One\n}}", "1"),
    ("{{ .One  -}}\n", "1"),
]

LITERALS = [
    ('{{ "a\\tb\\u00e9\\x41\\101\\"" }}', 'a\tbéAA"'),
    ('{{ "\\xc3\\xa9" }}', "é"),
    ('{{ "\\U0001F434" }}', "🐴"),
    ('{{ `raw\\n"` }}', 'raw\\n"'),
    ("{{ `two\nlines` }}", "two\nlines"),
    ("{{ 'a' }} {{ '\\n' }} {{ '\\'' }} {{ '\\x41' }} {{ 'é' }}", "97 10 39 65 233"),
    ("{{ 1 }} {{ -1 }} {{ +1 }} {{ 0x1F }} {{ 017 }} {{ 0o17 }} {{ 0b101 }} {{ 1_000 }}", "1 -1 1 31 15 15 5 1000"),
    (
        "{{ 1.5 }} {{ .5 }} {{ 1e3 }} {{ 1e6 }} {{ 1e-5 }} {{ 0x1p4 }} {{ 100000.0 }}",
        "1.5 0.5 1000 1e+06 1e-05 16 100000",
    ),
    ("{{ 2i }} {{ 1+2i }} {{ 1.5-2i }}", "(0+2i) (1+2i) (1.5-2i)"),
    ("{{ true }} {{ false }}", "true false"),
    ("{{ 9223372036854775807 }} {{ -9223372036854775808 }}", "9223372036854775807 -9223372036854775808"),
]

FIELDS = [
    ("{{ .Name }}", "corral"),
    ("{{ $.Name }}", "corral"),
    ("{{ .Missing }}", "<no value>"),
    ("{{ .Nil }}", "<no value>"),
    ("{{ .name }}", "<no value>"),
    ("{{ .Deep.x.y.z }}", "found"),
    ("{{ (.Deep).x.y.z }}", "found"),
    ("{{ (index .Deep `x`).y.z }}", "found"),
    ("{{ $d := .Deep }}{{ $d.x.y.z }}", "found"),
    ("{{ (.Missing).More }}", "<no value>"),
    ("{{ with .Deep }}{{ .x.y.z }}{{ $.Name }}{{ end }}", "foundcorral"),
    ("{{ .Struct.Role }}{{ .Struct.Content }}", "user"),
    ("{{ .List }} {{ .Map }} {{ .Struct }} {{ .Nothing }}", "[a b c] map[a:1 b:2] {user } []"),
]

BRANCHES = [
    ("{{ if .Name }}yes{{ end }}", "yes"),
    ("{{ if .Empty }}yes{{ end }}", ""),
    ("{{ if .Empty }}yes{{ else }}no{{ end }}", "no"),
    ("{{ if .No }}1{{ else if .Zero }}2{{ else if .One }}3{{ else }}4{{ end }}", "3"),
    ("{{ if .No }}1{{ else if .Zero }}2{{ else }}4{{ end }}5", "45"),
    *(
        (f"{{{{ if {value} }}}}t{{{{ else }}}}f{{{{ end }}}}", "t")
        for value in ("1", "`a`", ".List", ".Struct", "0.1", "2i")
    ),
    *(
        (f"{{{{ if {value} }}}}t{{{{ else }}}}f{{{{ end }}}}", "f")
        for value in ("0", "``", ".Nothing", ".Missing", "0.0", "0i")
    ),
    ("{{ with .Name }}<{{ . }}>{{ end }}", "<corral>"),
    ("{{ with .Empty }}<{{ . }}>{{ else }}{{ .Name }}{{ end }}", "corral"),
    ("{{ with .Empty }}1{{ else with .Name }}<{{ . }}>{{ else }}3{{ end }}", "<corral>"),
    ("{{ with $x := .One }}{{ $x }}{{ . }}{{ end }}", "11"),
    ("{{ if $x := .One }}{{ $x }}{{ end }}", "1"),
    ("{{ if $x := .Zero }}{{ else }}{{ $x }}{{ end }}", "0"),
]

LOOPS = [
    ("{{ range .List }}<{{ . }}>{{ end }}", "<a><b><c>"),
    ("{{ range .Nothing }}x{{ else }}none{{ end }}", "none"),
    ("{{ range .Missing }}x{{ else }}none{{ end }}", "none"),
    ("{{ range $e := .List }}{{ $e }}{{ . }}{{ end }}", "aabbcc"),
    ("{{ range $i, $e := .List }}{{ $i }}{{ $e }}{{ end }}", "0a1b2c"),
    ("{{ range $i, $_ := .List }}{{ $i }}{{ end }}", "012"),
    ("{{ range .Map }}{{ . }}{{ end }}", "12"),
    ("{{ range $k, $v := .Map }}{{ $k }}={{ $v }} {{ end }}", "a=1 b=2 "),
    ("{{ range 3 }}{{ . }}{{ end }}", "012"),
    ("{{ range $i := 3 }}{{ $i }}{{ end }}", "012"),
    ("{{ range 0 }}x{{ else }}none{{ end }}", "none"),
    ("{{ range .List }}{{ if eq . `b` }}{{ continue }}{{ end }}{{ . }}{{ end }}", "ac"),
    ("{{ range .List }}{{ if eq . `b` }}{{ break }}{{ end }}{{ . }}{{ end }}!", "a!"),
    ("{{ range .List }}{{ range $.List }}{{ break }}{{ end }}{{ . }}{{ end }}", "abc"),
    ("{{ range .List }}{{ with . }}{{ break }}{{ end }}{{ else }}none{{ end }}", ""),
    ("{{ range slice .List 1 }}{{ . }}{{ end }}", "bc"),
]

VARIABLES = [
    ("{{ $x := 1 }}{{ $x }}", "1"),
    ("{{ $x := 1 }}{{ $x = 2 }}{{ $x }}", "2"),
    ("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}", "21"),
    ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
    ("{{ $last := `` }}{{ range .List }}{{ $last = . }}{{ end }}{{ $last }}", "c"),
    ("{{ $i := 9 }}{{ $e := 9 }}{{ range $i, $e = .List }}{{ end }}{{ $i }}{{ $e }}", "2c"),
    ("{{ $x := .Missing }}{{ $x }}{{ $x.More }}", "<no value><no value>"),
    ("{{ range .List }}{{ $x := . }}{{ $x }}{{ end }}", "abc"),
    ("{{ $n := 0 }}{{ range .List }}{{ if eq . `b` }}{{ $n = 1 }}{{ break }}{{ end }}{{ end }}{{ $n }}", "1"),
]

PIPELINES = [
    ("{{ .Name | len }}", "6"),
    ("{{ .Name | printf `%s-%s` .One | print }}", "%!s(int=1)-corral"),
    ("{{ `a` | printf `%s%s` `b` }}", "ba"),
    ("{{ (len .List) | eq 3 }}", "true"),
    ("{{ and (eq .One 1) (gt (len .List) 2) }}", "true"),
    ("{{ (printf `%s` `x`) | print }}", "x"),
    ("{{ len (slice .Name 1 3) }}", "2"),
    ("{{ eq (len .List) 1|not }}", "true"),
]

TEMPLATES = [
    ("{{ define `x` }}<{{ . }}>{{ end }}{{ template `x` .Name }}", "<corral>"),
    ("{{ template `x` .Name }}{{ define `x` }}<{{ . }}>{{ end }}", "<corral>"),
    ('{{ define "x" }}{{ $.One }}{{ end }}{{ template "x" . }}', "1"),
    ("{{ block `b` .Name }}[{{ . }}]{{ end }}", "[corral]"),
    ("{{ define `b` }}({{ . }}){{ end }}{{ block `b` .Name }} {{ end }}", "(corral)"),
    (
        "{{ define `n` }}{{ if . }}{{ len . }}{{ template `n` (slice . 1) }}{{ end }}{{ end }}{{ template `n` .List }}",
        "321",
    ),
    ("{{ $x := 1 }}{{ define `x` }}{{ $x := 2 }}{{ $x }}{{ end }}{{ template `x` . }}{{ $x }}", "21"),
    (
        "{{ range .List }}{{ template `x` . }}{{ end }}{{ define `x` }}{{ range 9 }}{{ break }}{{ end }}{{ . }}{{end}}",
        "abc",
    ),
]


@pytest.mark.parametrize(
    ("source", "written"),
    [*TEXT, *TRIMMING, *LITERALS, *FIELDS, *BRANCHES, *LOOPS, *VARIABLES, *PIPELINES, *TEMPLATES],
)
def test_a_construct_writes_what_go_writes(source: str, written: str) -> None:
    assert render(source, DATA) == written


def test_a_template_is_executed_any_number_of_times() -> None:
    source = "{{ range .L }}{{ . }}{{ end }}{{ $x := 1 }}{{ $x }}"
    assert [render(source, {"L": [number]}) for number in (1, 2)] == ["11", "21"]


def test_what_prints_itself_keeps_its_text_and_its_order() -> None:
    class Properties(dict[str, int]):
        def __str__(self) -> str:
            return '{"b":1,"a":2}'

    data = {"P": Properties(b=1, a=2)}
    assert render("{{ .P }} {{ json .P }} {{ printf `%s` .P }}", data) == " ".join(['{"b":1,"a":2}'] * 3)
    assert render("{{ range $k, $v := .P }}{{ $k }}{{ $v }}{{ end }}{{ len .P }}{{ .P.a }}", data) == "b1a222"


def test_halves_of_characters_become_the_replacement_character() -> None:
    assert render("{{ slice .T 0 1 }}|{{ slice .T 0 1 }}{{ slice .T 1 }}", {"T": "é"}) == "�|é"
    assert render("{{ .T }}", {"T": "a\ud800b"}) == "a?b"
