"""A vocabulary of characters, so that lengths in tokens can be counted by eye."""


class Letters:
    """Each character is its own token; a template may be given, and a first token that is added by rule."""

    def __init__(self, template: str = "", *, add_bos: bool = False) -> None:
        self.size = 0x110000
        self.add_bos = add_bos
        self.bos = "^"
        self.eos = "$"
        self._template = template

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        assert parse_special
        return [ord(letter) for letter in (self.bos * (add_special and self.add_bos)) + text]

    def chat_template(self) -> str:
        return self._template


def read(tokens: tuple[int, ...] | list[int]) -> str:
    return "".join(map(chr, tokens))
