"""Go's `%q` and `%v` for the values that the contract's error texts quote. Pure."""

_SHORT = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v", "\\": r"\\"}


def quoted(text: str) -> str:
    """`text` in double quotes as strconv.Quote writes it: printable Unicode stays, the rest is escaped."""
    return '"' + "".join(_escaped(char, '"') for char in text) + '"'


def quoted_char(char: str) -> str:
    """One character in single quotes, as Go's JSON scanner names it."""
    return "'" + _escaped(char, "'") + "'"


def _escaped(char: str, quote: str) -> str:
    if char == quote:
        return "\\" + char
    if char in _SHORT:
        return _SHORT[char]
    if char == " " or char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
