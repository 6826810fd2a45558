"""A vocabulary of characters, so that lengths in tokens can be counted by eye."""

from collections.abc import Sequence

from apps.inference.engine.seams import Seam

MARKS = {"bos_token": "^", "eos_token": "$"}


class Letters:
    """Each character is its own token; a template may be given, and a first token that is added by rule.

    ‹, | and › are the marks for filling in, where `infill`; text that is not to be read for marks keeps none of them.
    Where there is a `seam`, texts may be cut behind it. `read` are the texts that were tokenised.
    """

    def __init__(
        self,
        template: str = "",
        *,
        add_bos: bool = False,
        tool_use: str = "",
        infill: bool = False,
        n_ctx_train: int = 0,
        architecture: str = "llama",
        seam: str = "",
    ) -> None:
        self.size = 0x110000
        self.add_bos = add_bos
        self.bos = MARKS["bos_token"]
        self.marks = MARKS
        self.architecture = architecture
        self.n_ctx_train = n_ctx_train
        self.infill = (ord("‹"), ord("|"), ord("›")) if infill else None
        self.seam = Seam(seam, ord(seam)) if seam else None
        self.read: list[str] = []
        self._templates = {"": template, "tool_use": tool_use}

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        self.read.append(text)
        if not parse_special:
            text = text.translate(dict.fromkeys(map(ord, "^‹|›"), "."))
        return [ord(letter) for letter in (self.bos * (add_special and self.add_bos)) + text]

    def detokenize(self, tokens: Sequence[int]) -> bytes:
        return "".join(map(chr, tokens)).encode()

    def text(self, token: int) -> str:
        return chr(token)

    def chat_template(self, name: str = "") -> str:
        return self._templates[name]


def read(tokens: tuple[int, ...] | list[int]) -> str:
    return "".join(map(chr, tokens))
