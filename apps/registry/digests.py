"""Digests of content: `sha256:` and 64 lower-case hex digits. Pure."""

import hashlib
import re

from apps.errors import Problem

_SYNTAX = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")


def parse(text: str) -> str:
    """The canonical spelling. Raises Problem("invalid") with the contract's text (section 9)."""
    found = _SYNTAX.fullmatch(text)
    if not found:
        raise Problem("invalid", "invalid digest format")
    return f"sha256:{found[1].lower()}"


def fits(text: str) -> bool:
    return _SYNTAX.fullmatch(text) is not None


def of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def hexadecimal(digest: str) -> str:
    return digest.removeprefix("sha256:")
