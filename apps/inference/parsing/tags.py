"""Tags in a text that is still growing."""

from collections.abc import Sequence

MAX_BLANK = 4096  # characters of whitespace that may belong to the markup
_BLOCK = 1024


def beginning(text: str, tags: Sequence[str]) -> int:
    """How many of the last characters may turn out to begin one of the tags."""
    window = max(0, len(text) + 1 - max(map(len, tags), default=1))
    earliest = len(text)
    for tag in tags:
        start = text.find(tag[0], window, earliest)
        while start >= 0 and not tag.startswith(text[start:]):
            start = text.find(tag[0], start + 1, earliest)
        if start >= 0:
            earliest = start
    return len(text) - earliest


def blocks(text: str) -> list[str]:
    """Parts to look at one by one: what is left of a part is copied at each tag in it, which must not be much."""
    return [text[start : start + _BLOCK] for start in range(0, len(text), _BLOCK)]


def possible(text: str, tags: Sequence[str]) -> bool:
    """The text begins one of the tags, or is it already."""
    return any(tag.startswith(text) for tag in tags)
