"""Where a prompt's images stand: their marks `[img-N]` in its text, and a number below 0 among its tokens. Pure.

-1 stands for the request's first image, -2 for its second (apps/inference/engine/vision.py reads them so).
"""

import re
from collections.abc import Callable

_MARK = re.compile(r"\[img-(\d{1,4})\]")


def tokens(text: str, *, images: int, first: bool, tokenize: Callable[[str, bool], list[int]]) -> list[int]:
    """Of a text with the marks of `images` images, each stretch of words by itself, as llama.cpp's own reader of
    images has it. A mark with another number is text. `tokenize` is told which stretch begins the prompt, if the text
    does (`first`): it gets the vocabulary's own first token, though it be empty."""
    found: list[int] = []
    done = 0
    for mark in _MARK.finditer(text):
        if (number := int(mark[1])) < images:
            found += [*_words(text[done : mark.start()], first=first and not done, tokenize=tokenize), -1 - number]
            done = mark.end()
    return found + _words(text[done:], first=first and not done, tokenize=tokenize)


def marked(text: str, images: int) -> bool:
    """Whether the text says itself where one of so many images stands."""
    return any(int(mark[1]) < images for mark in _MARK.finditer(text))


def _words(text: str, *, first: bool, tokenize: Callable[[str, bool], list[int]]) -> list[int]:
    return tokenize(text, first) if text or first else []
