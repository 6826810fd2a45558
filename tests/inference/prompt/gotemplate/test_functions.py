"""The functions, Go's and Ollama's, with what Go gives for them."""

from datetime import date, timedelta
from typing import Any

import pytest

from apps.inference.prompt.gotemplate import Struct
from tests.inference.prompt.gotemplate.rendering import render

DATA: dict[str, Any] = {
    "S": "héllo",
    "L": [1, "b", None],
    "M": {"k": "v", "n": {"m": [5]}},
    "F": 1.5,
    "Same": Struct({"A": 1}, "T"),
    "Html": "<a href=\"x\">'&'</a>",
}

LOGIC = [
    ("and 1 2", "2"),
    ("and 0 2", "0"),
    ("and 1 `` 3", ""),
    ("or 0 `` 3 4", "3"),
    ("or 0 ``", ""),
    ("or .X .S", "héllo"),
    ("2 | and 1", "2"),
    ("and .X .X.Y.Z", "<no value>"),
    ("or 1 (index .L 99)", "1"),
    ("not 0", "true"),
    ("not .S", "false"),
    ("not .X", "true"),
]

COMPARISONS = [
    ("eq 1 1", "true"),
    ("eq 1 2 3 1", "true"),
    ("eq 1 2 3", "false"),
    ("eq `a` `a`", "true"),
    ("eq .S `b` `héllo`", "true"),
    ("eq true true", "true"),
    ("eq .X nil", "true"),
    ("eq .X `a`", "false"),
    ("eq `a` .X", "false"),
    ("eq .L nil", "false"),
    ("eq .Same .Same", "true"),
    ("eq 1.5 .F", "true"),
    ("ne 1 2", "true"),
    ("ne `a` `a`", "false"),
    ("lt 1 2", "true"),
    ("lt `a` `b`", "true"),
    ("lt 1.5 .F", "false"),
    ("le 1 1", "true"),
    ("le 2 1", "false"),
    ("gt 2 1", "true"),
    ("ge 1 1", "true"),
    ("ge 1 2", "false"),
]

PARTS = [
    ("len .S", "6"),
    ("len .L", "3"),
    ("len .M", "2"),
    ("len ``", "0"),
    ("index .L 1", "b"),
    ("index .M `k`", "v"),
    ("index .M `none`", "<no value>"),
    ("index .M `n` `m` 0", "5"),
    ("index .S 0", "104"),
    ("index .S 1", "195"),
    ("index .L", "[1 b <nil>]"),
    ("slice .L 1", "[b <nil>]"),
    ("slice .L 0 1", "[1]"),
    ("slice .L 0 1 2", "[1]"),
    ("slice .L", "[1 b <nil>]"),
    ("slice .L 3", "[]"),
    ("slice .S 3", "llo"),
    ("slice .S 0 3", "hé"),
    ("slice `abc` 1 2", "b"),
]

PRINTING = [
    ("print 1 2 `a` 3 4", "1 2a3 4"),
    ("print `a` `b`", "ab"),
    ("print nil", "<nil>"),
    ("print", ""),
    ("println `a` 1", "a 1\n"),
    ("print .M", "map[k:v n:map[m:[5]]]"),
    ("print true 1.0", "true 1"),
]

ESCAPES = [
    ("html .Html", "&lt;a href=&#34;x&#34;&gt;&#39;&amp;&#39;&lt;/a&gt;"),
    ("js .Html", "\\u003Ca href\\u003D\\\"x\\\"\\u003E\\'\\u0026\\'\\u003C/a\\u003E"),
    ('js "a\\n\\\\é"', "a\\u000A\\\\é"),
    ("urlquery `a b&c=é~/`", "a+b%26c%3D%C3%A9~%2F"),
    ("html 1 2 `<`", "1 2&lt;"),
    ("html .X", "&lt;no value&gt;"),
]

JSON = [
    ("json .M", '{"k":"v","n":{"m":[5]}}'),
    ("json .L", '[1,"b",null]'),
    ("json .Html", '"\\u003ca href=\\"x\\"\\u003e\'\\u0026\'\\u003c/a\\u003e"'),
    ("json .X", "null"),
    ("json 1.0", "1"),
    ("json 1e21", "1e+21"),
    ("json 1e20", "100000000000000000000"),
    ("json 0.00001", "0.00001"),
    ("json 0.0000001", "1e-7"),
    ("json true", "true"),
    ('json "\\n\\x01é\\u2028"', '"\\n\\u0001é\\u2028"'),
    ("json .Same", '{"A":1}'),
]

TYPES = [
    ({"Type": "string"}, "string"),
    ({"Type": "integer"}, "number"),
    ({"Type": ["string", "null"]}, "string | null"),
    ({"Type": "array"}, "any[]"),
    ({"Type": "object"}, "Record<string, any>"),
    ({"Type": "boolean"}, "boolean"),
    ({"Type": "odd"}, "any"),
    ({"Type": ""}, "any"),
    ({"Type": "", "AnyOf": [{"Type": "string"}, {"Type": "number"}]}, "string | number"),
    ("text", "any"),
]


@pytest.mark.parametrize(("call", "written"), [*LOGIC, *COMPARISONS, *PARTS, *PRINTING, *ESCAPES, *JSON])
def test_a_function_gives_what_go_gives(call: str, written: str) -> None:
    assert render(f"{{{{ {call} }}}}", DATA) == written


@pytest.mark.parametrize(("schema", "written"), TYPES)
def test_a_property_is_declared_as_typescript_would(schema: object, written: str) -> None:
    assert render("{{ toTypeScriptType .P }}", {"P": schema}) == written


def test_days_are_printed_as_iso_dates() -> None:
    before = date.today()
    days = render('{{ currentDate }} {{ yesterdayDate }} {{ currentDate "2006" }}').split()
    assert days[0] == days[2]
    assert date.fromisoformat(days[0]) in (before, before + timedelta(days=1))
    assert date.fromisoformat(days[1]) == date.fromisoformat(days[0]) - timedelta(days=1)


def test_json_of_what_is_no_number_is_empty() -> None:
    assert render("<{{ json .N }}>", {"N": float("nan")}) == "<>"
