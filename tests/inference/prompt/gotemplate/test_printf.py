"""printf, verb by verb and flag by flag, with what Go's fmt writes."""

from typing import Any

import pytest

from apps.inference.prompt.gotemplate.limits import Allowance, Limits, TemplateError
from apps.inference.prompt.gotemplate.printing import sprintf

TEXTS = [
    ("%s|%5s|%-5s|%.2s", ["a", "b", "c", "wxyz"], "a|    b|c    |wx"),
    ("%q %#q %q", ['a"\n', "raw", "é\u200b"], '"a\\"\\n" `raw` "é\\u200b"'),
    ("%x %X % x %#x", ["hi", "hi", "hi", "hi"], "6869 6869 68 69 0x6869"),
    ("%v %+v %#v", ["a", "b", "c"], 'a b "c"'),
    ("%s %d", [["a", "b"], [1, 2]], "[a b] [1 2]"),
    ("%q", [["a", "b"]], '["a" "b"]'),
    ("100%%", [], "100%"),
    ("é%sü", ["ö"], "éöü"),
]

INTEGERS = [
    ("%d %5d|%-5d|%05d %+d % d", [1, 2, 3, 4, 5, 6], "1     2|3    |00004 +5  6"),
    ("%d %05d", [-7, -7], "-7 -0007"),
    ("%b %o %O %x %X %#x %#o %#b", [5, 8, 8, 255, 255, 255, 8, 5], "101 10 0o10 ff FF 0xff 010 0b101"),
    ("%c %q %U %#U", [97, 97, 233, 233], "a 'a' U+00E9 U+00E9 'é'"),
    ("%.3d %6.3d", [7, 7], "007    007"),
    ("%*d|%-*d|%.*f", [4, 1, 4, 1, 1, 2.55], "   1|1   |2.5"),
    ("%[2]d %[1]d", [1, 2], "2 1"),
    ("%[1]v %[1]T", [5], "5 int"),
    ("%v", [10**15], "1000000000000000"),
]

FLOATS = [
    (
        "%f %.2f %6.1f|%e %g %G",
        [1.5, 2.345, 3.14159, 1500.0, 1e6, 1e-7],
        "1.500000 2.35    3.1|1.500000e+03 1e+06 1E-07",
    ),
    ("%v %v %v %v", [1.0, 123456.0, 1234567.0, 1e-5], "1 123456 1.234567e+06 1e-05"),
    ("%v %v %v", [float("inf"), float("-inf"), float("nan")], "+Inf -Inf NaN"),
    ("%+.1f %06.2f %.3g", [1.0, -1.5, 1234.5], "+1.0 -01.50 1.23e+03"),
    ("%v %.1f", [1 + 2j, 1 - 2j], "(1+2i) (1.0-2.0i)"),
]

OTHERS = [
    ("%t %v %5t", [True, False, True], "true false  true"),
    ("%v %+v", [{"b": 1, "a": None}, []], "map[a:<nil> b:1] []"),
    ("%T %T %T %T %T %T", ["", 1, 1.0, True, [], {}], "string int float64 bool []interface {} map[string]interface {}"),
    ("%v %T", [None, None], "<nil> <nil>"),
]

WRONG = [
    ("%d", ["hi"], "%!d(string=hi)"),
    ("%s", [5], "%!s(int=5)"),
    ("%s", [None], "%!s(<nil>)"),
    ("%t", [1], "%!t(int=1)"),
    ("%z", ["a"], "%!z(string=a)"),
    ("%d", [], "%!d(MISSING)"),
    ("%s %s", ["a"], "a %!s(MISSING)"),
    ("a", [1, "b", None], "a%!(EXTRA int=1, string=b, <nil>)"),
    ("%", [], "%!(NOVERB)"),
    ("%5", [], "%!(NOVERB)"),
    ("%[3]d", [1], "%!d(BADINDEX)"),
    ("%[x]d", [1], "%!d(BADINDEX)"),
    ("%*d", ["a", 1], "%!(BADWIDTH)1"),
    ("%.*d", [-1, 5], "%!(BADPREC)5"),
    ("%999999999d", [1], "%!(NOVERB)%!(EXTRA int=1)"),
    ("%d", [["a"]], "[%!d(string=a)]"),
]


@pytest.mark.parametrize(("template", "args", "written"), [*TEXTS, *INTEGERS, *FLOATS, *OTHERS, *WRONG])
def test_a_format_writes_what_go_writes(template: str, args: list[Any], written: str) -> None:
    assert sprintf(template, args, Allowance(Limits())) == written


def test_a_width_that_is_too_much_is_refused_before_it_is_made() -> None:
    assert len(sprintf("%1000d%.5f", [1, 1.0], Allowance(Limits(output=1007)))) == 1007
    with pytest.raises(TemplateError, match="too much text"):
        sprintf("%1000d", [1], Allowance(Limits(output=999)))


def test_each_verb_and_each_value_takes_steps() -> None:
    assert sprintf("%v %v", [[1, 2], "a"], Allowance(Limits(steps=11))) == "[1 2] a"
    with pytest.raises(TemplateError, match="too many steps"):
        sprintf("%v %v", [[1, 2], "a"], Allowance(Limits(steps=10)))


def test_a_character_that_is_quoted_takes_more_steps_than_one_that_is_copied() -> None:
    assert sprintf("%s", ["é" * 800], Allowance(Limits(steps=3))) == "é" * 800
    with pytest.raises(TemplateError, match="too many steps"):
        sprintf("%q", ["é" * 800], Allowance(Limits(steps=100)))
