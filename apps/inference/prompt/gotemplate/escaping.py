"""The functions `html`, `js` and `urlquery`."""

import re
from urllib.parse import quote_plus

from apps.inference.prompt.gotemplate.quoting import encoded, readable

_HTML = (
    ("&", "&amp;"),
    ('"', "&#34;"),
    ("'", "&#39;"),
    ("<", "&lt;"),
    (">", "&gt;"),
    ("\0", "\N{REPLACEMENT CHARACTER}"),
)
_SCRIPT = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}
_SPECIAL = re.compile(r"""[\\'"<>&=]|[^ -~]""")


def html(text: str) -> str:
    for character, escape in _HTML:
        text = text.replace(character, escape)
    return text


def js(text: str) -> str:
    return _SPECIAL.sub(lambda found: _scripted(found[0]), readable(text))


def _scripted(character: str) -> str:
    if character in _SCRIPT:
        return _SCRIPT[character]
    if character.isprintable() and ord(character) > 127:
        return character
    return f"\\u{ord(character):04X}"


def urlquery(text: str) -> str:
    return quote_plus(encoded(text), safe="")
