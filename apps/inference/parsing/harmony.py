"""The channels of gpt-oss: every message is a header, <|message|>, text, and a tag that ends it.

    <|channel|>analysis<|message|>…<|end|>                                            thinking
    <|start|>assistant<|channel|>final<|message|>…<|return|>                          the answer
    <|start|>assistant<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{…}<|call|>       a call
    <|start|>assistant<|channel|>commentary<|message|>…<|end|>                        said before calls

A prompt ends with <|start|>assistant, so the first header begins behind that. Text without a header is the answer.
"""

import re

from apps.inference.parsing import reading
from apps.inference.parsing.calling import MAX_HELD
from apps.inference.parsing.pieces import Called, Piece, Said, Thought
from apps.inference.parsing.reading import Offer
from apps.inference.parsing.tags import MAX_BLANK, beginning, blocks, possible

MAX_HEADER = 512  # characters

_MESSAGE = "<|message|>"
_HEADS = ("<|start|>", "<|channel|>", "<|constrain|>", _MESSAGE, "to=", "assistant<|", "assistant to=")
_ENDS = ("<|end|>", "<|call|>", "<|return|>", "<|start|>", "<|channel|>")
_END = re.compile("|".join(map(re.escape, _ENDS)))
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w*)")
_HALF_HEADER = re.compile(r"\s*(<\|start\|>\s*\w*)?\s*(<\|channel\|>\s*\w*)?\s*(<\|constrain\|>\s*\w*)?\s*")
_RECIPIENT = re.compile(r"to=(?:functions\.)?([^\s<]+)")


class Harmony:
    def __init__(self, offer: Offer, *, already: bool = False) -> None:
        self._offer = offer
        self._pieces: list[Piece] = []
        self._text = ""
        self._header = ""
        self._name = ""
        self._held: list[str] = []
        self._size = 0
        self._look = self._body if already else self._head
        self._take = self._think if already else self._say

    def feed(self, text: str) -> list[Piece]:
        for block in blocks(text):
            self._text += block
            while self._text and self._look():
                continue
        return self._drain()

    def close(self) -> list[Piece]:
        rest, self._text = self._text, ""
        if self._look == self._body:
            self._take(rest)
            self._end_body()
        elif not _HALF_HEADER.fullmatch(rest):
            self._say(rest)
        return self._drain()

    def _head(self) -> bool:
        start = self._text.lstrip()
        blank = len(self._text) - len(start)
        if blank > MAX_BLANK or not (start.startswith(_HEADS) or possible(start, _HEADS)):
            self._take, self._look = self._say, self._body
            return True
        at = start.find(_MESSAGE)
        if at > MAX_HEADER or (at < 0 and len(start) >= MAX_HEADER + len(_MESSAGE)):
            return self._no_head(start)
        if at < 0:
            return False
        self._open(start[:at])
        self._text = start[at + len(_MESSAGE) :]
        return True

    def _no_head(self, start: str) -> bool:
        """The tag that seemed to begin one is text, and whatever follows it."""
        tag = next(tag for tag in _HEADS if start.startswith(tag))
        self._say(tag)
        self._text = start[len(tag) :]
        self._take, self._look = self._say, self._body
        return True

    def _open(self, header: str) -> None:
        channel, recipient = _CHANNEL.search(header), _RECIPIENT.search(header)
        self._header, self._look = header + _MESSAGE, self._body
        self._name = recipient[1] if recipient else ""
        if self._name:
            self._take = self._hold
        else:
            self._take = self._think if channel and channel[1] == "analysis" else self._say

    def _body(self) -> bool:
        match = _END.search(self._text)
        if not match:
            safe = len(self._text) - beginning(self._text, _ENDS)
            self._take(self._text[:safe])
            self._text = self._text[safe:]
            return False
        self._take(self._text[: match.start()])
        keeps = match[0] in ("<|start|>", "<|channel|>")
        self._text = self._text[match.start() if keeps else match.end() :]
        self._end_body("" if keeps else match[0])
        return True

    def _hold(self, text: str) -> None:
        """Of a call, as far as there is room for one."""
        room = MAX_HELD - self._size
        self._held.append(text[:room])
        self._size += len(text[:room])
        if len(text) > room:
            self._say(self._header + "".join(self._held) + text[room:])
            self._forget()
            self._take = self._say

    def _end_body(self, tag: str = "") -> None:
        text = "".join(self._held)
        if self._take == self._hold:
            if calls := reading.named(self._name, text or "{}", self._offer):
                self._pieces.append(Called(calls))
            else:
                self._say(self._header + text + tag)
        self._forget()
        self._take, self._look = self._say, self._head

    def _forget(self) -> None:
        self._held, self._size, self._name = [], 0, ""

    def _say(self, text: str) -> None:
        if text:
            self._pieces.append(Said(text))

    def _think(self, text: str) -> None:
        if text:
            self._pieces.append(Thought(text))

    def _drain(self) -> list[Piece]:
        pieces, self._pieces = self._pieces, []
        return pieces
